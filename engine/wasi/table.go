package wasi

// call is a function of WASI: its parameters, i for i32 and I for i64, and what it does with them. The
// parameters are bits, those of i32 without an upper half. Without run it is proc_exit.
type call struct {
	params string
	run    func(s *System, a []uint64) errno
}

// calls are all functions of wasi_snapshot_preview1, because language runtimes import more than they
// use. Those that would change something find files that nobody may write.
var calls = map[string]call{
	"args_get":          {"ii", argsGet},
	"args_sizes_get":    {"ii", argsSizes},
	"environ_get":       {"ii", environGet},
	"environ_sizes_get": {"ii", environSizes},
	"clock_res_get":     {"ii", clockRes},
	"clock_time_get":    {"iIi", clockTime},
	"random_get":        {"ii", randomGet},
	"sched_yield":       {"", nothing},
	"poll_oneoff":       {"iiii", poll},
	"proc_exit":         {"i", nil},
	"proc_raise":        {"i", unsupported},

	"fd_advise":             {"iIIi", advise},
	"fd_allocate":           {"iII", readOnly(nosys)},
	"fd_close":              {"i", fdClose},
	"fd_datasync":           {"i", sync},
	"fd_fdstat_get":         {"ii", fdstat},
	"fd_fdstat_set_flags":   {"ii", setFlags},
	"fd_fdstat_set_rights":  {"iII", unsupported},
	"fd_filestat_get":       {"ii", fdFilestat},
	"fd_filestat_set_size":  {"iI", readOnly(nosys)},
	"fd_filestat_set_times": {"iIIi", readOnly(nosys)},
	"fd_pread":              {"iiiIi", fdPread},
	"fd_prestat_dir_name":   {"iii", prestatName},
	"fd_prestat_get":        {"ii", prestat},
	"fd_pwrite":             {"iiiIi", fdPwrite},
	"fd_read":               {"iiii", fdRead},
	"fd_readdir":            {"iiiIi", fdReaddir},
	"fd_renumber":           {"ii", renumber},
	"fd_seek":               {"iIii", fdSeek},
	"fd_sync":               {"i", sync},
	"fd_tell":               {"ii", fdTell},
	"fd_write":              {"iiii", fdWrite},

	"path_create_directory":   {"iii", readOnly(notdir)},
	"path_filestat_get":       {"iiiii", pathFilestat},
	"path_filestat_set_times": {"iiiiIIi", readOnly(notdir)},
	"path_link":               {"iiiiiii", readOnly(notdir)},
	"path_open":               {"iiiiiIIii", pathOpen},
	"path_readlink":           {"iiiiii", pathReadlink},
	"path_remove_directory":   {"iii", readOnly(notdir)},
	"path_rename":             {"iiiiii", readOnly(notdir)},
	"path_symlink":            {"iiiii", symlink},
	"path_unlink_file":        {"iii", readOnly(notdir)},

	"sock_accept":   {"iii", noSocket},
	"sock_recv":     {"iiiiii", noSocket},
	"sock_send":     {"iiiii", noSocket},
	"sock_shutdown": {"ii", noSocket},
}

func nothing(*System, []uint64) errno { return success }

func unsupported(*System, []uint64) errno { return nosys }

func noSocket(*System, []uint64) errno { return badf }

// readOnly is a call that would change a file or a directory; standard input and output answer stdio.
func readOnly(stdio errno) func(*System, []uint64) errno {
	return func(s *System, a []uint64) errno {
		switch d := s.fd(a[0]); {
		case d == nil:
			return badf
		case d.stdio():
			return stdio
		}
		return rofs
	}
}

// symlink has its directory in the third place.
func symlink(s *System, a []uint64) errno {
	switch d := s.fd(a[2]); {
	case d == nil:
		return badf
	case d.root == nil:
		return notdir
	}
	return rofs
}

func sync(s *System, a []uint64) errno {
	if s.fd(a[0]) == nil {
		return badf
	}
	return success
}
