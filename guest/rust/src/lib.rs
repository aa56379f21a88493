//! Write a module in Rust: ordinary functions become exports of the contract `docs/abi.md`.
//!
//! Use it inside a module, a `cdylib` for `wasm32-unknown-unknown`; never in a host. Nothing is imported
//! but WASI's `fd_write` for lines of log, and the functions are plain Rust that `cargo test` runs on any machine.
//!
//! ```
//! isomer_guest::bytes!(total);
//!
//! fn total(input: &[u8]) -> Result<Vec<u8>, String> {
//!     Ok(format!("{} bytes", input.len()).into_bytes())
//! }
//! ```
//!
//! A panic is a trap: it costs the call and the instance. Its words go where [`log`]'s lines go.
//!
//! Compatibility: v0, the API may change until 1.0.

pub mod host;

use std::alloc::{alloc, handle_alloc_error, realloc, Layout};
use std::cell::UnsafeCell;

/// A picture as the host passes it: three bytes a pixel, red, green, blue, rows from top to bottom
/// without gaps.
pub struct Image<'a> {
    pub width: u32,
    pub height: u32,
    pub rgb: &'a [u8],
}

/// `bytes!(f, g)` exports functions `fn(&[u8]) -> Result<Vec<u8>, String>`. An `Err` is an application
/// error with that message.
#[macro_export]
macro_rules! bytes {
    ($($name:ident),+ $(,)?) => {$(
        const _: () = {
            // A symbol of this name only in WebAssembly: in a native test it could hide one of the system.
            #[cfg_attr(target_arch = "wasm32", export_name = stringify!($name))]
            #[allow(dead_code)]
            extern "C" fn __isomer_export(ptr: *mut u8, len: usize) -> *const $crate::Answer {
                let input = unsafe { $crate::take(ptr, len) };
                $crate::respond($name(&input))
            }
        };
    )+};
}

/// `image!(f)` exports functions `fn(Image) -> Result<Vec<u8>, String>`. Where the manifest does not say
/// otherwise the answer is JSON.
#[macro_export]
macro_rules! image {
    ($($name:ident),+ $(,)?) => {$(
        const _: () = {
            #[cfg_attr(target_arch = "wasm32", export_name = stringify!($name))]
            #[allow(dead_code)]
            extern "C" fn __isomer_export(width: u32, height: u32, ptr: *mut u8, len: usize) -> *const $crate::Answer {
                let rgb = unsafe { $crate::take(ptr, len) };
                $crate::respond($name($crate::Image { width, height, rgb: &rgb }))
            }
        };
    )+};
}

/// `state!(save, restore)` carries state to the next version: `fn() -> Vec<u8>` and `fn(&[u8])`.
#[macro_export]
macro_rules! state {
    ($save:ident, $restore:ident) => {
        const _: () = {
            #[cfg_attr(target_arch = "wasm32", export_name = "isomer_save")]
            #[allow(dead_code)]
            extern "C" fn __isomer_save() -> *const $crate::List {
                $crate::saved($save())
            }
            #[cfg_attr(target_arch = "wasm32", export_name = "isomer_restore")]
            #[allow(dead_code)]
            extern "C" fn __isomer_restore(ptr: *mut u8, len: usize) {
                let state = unsafe { $crate::take(ptr, len) };
                $restore(&state)
            }
        };
    };
}

/// Writes one line to standard error, which the host shows or drops. It needs no permission;
/// [`host::log`] gives the host a level too, and needs one.
pub fn log(line: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        #[link(wasm_import_module = "wasi_snapshot_preview1")]
        extern "C" {
            fn fd_write(fd: i32, parts: *const List, count: usize, written: *mut usize) -> i32;
        }
        let parts = [List { ptr: line.as_ptr(), len: line.len() }, List { ptr: b"\n".as_ptr(), len: 1 }];
        let mut written = 0;
        unsafe { fd_write(2, parts.as_ptr(), parts.len(), &mut written) };
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{line}");
}

/// `result<list<u8>, string>` as it lies in memory; the macros' business.
#[doc(hidden)]
#[repr(C)]
pub struct Answer {
    tag: u8,
    ptr: *const u8,
    len: usize,
}

/// `list<u8>` as it lies in memory; the macros' business.
#[doc(hidden)]
#[repr(C)]
pub struct List {
    ptr: *const u8,
    len: usize,
}

/// What the host holds addresses of until the next call.
struct Kept {
    answer: Answer,
    list: List,
    bytes: Vec<u8>,
}

struct Slot(UnsafeCell<Kept>);

// An instance serves one call at a time and has no threads.
unsafe impl Sync for Slot {}

static KEPT: Slot = Slot(UnsafeCell::new(Kept {
    answer: Answer { tag: 0, ptr: std::ptr::null(), len: 0 },
    list: List { ptr: std::ptr::null(), len: 0 },
    bytes: Vec::new(),
}));

#[doc(hidden)]
pub fn respond(r: Result<Vec<u8>, String>) -> *const Answer {
    let kept = unsafe { &mut *KEPT.0.get() };
    let (tag, bytes) = match r {
        Ok(b) => (0, b),
        Err(message) => (1, message.into_bytes()),
    };
    kept.bytes = bytes;
    kept.answer = Answer { tag, ptr: kept.bytes.as_ptr(), len: kept.bytes.len() };
    &kept.answer
}

#[doc(hidden)]
pub fn saved(state: Vec<u8>) -> *const List {
    let kept = unsafe { &mut *KEPT.0.get() };
    kept.bytes = state;
    kept.list = List { ptr: kept.bytes.as_ptr(), len: kept.bytes.len() };
    &kept.list
}

/// Lets a panic write its words to standard error: Rust's own hook has none on this target, and the host would
/// see a trap without a reason. Each call begins in `take`; the first one sets the hook, which makes a module
/// 4 kB larger.
#[cfg(target_arch = "wasm32")]
fn tell_panics() {
    static SET: std::sync::Once = std::sync::Once::new();
    SET.call_once(|| std::panic::set_hook(Box::new(|panic| log(&panic.to_string()))));
}

/// Takes over the input that the host has written.
///
/// # Safety
///
/// `ptr` comes from `cabi_realloc(0, 0, 1, len)`, or `len` is 0.
#[doc(hidden)]
pub unsafe fn take(ptr: *mut u8, len: usize) -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    tell_panics();
    if len == 0 {
        return Vec::new();
    }
    Vec::from_raw_parts(ptr, len, len)
}

/// The host's allocator.
///
/// # Safety
///
/// `old` is null, or comes from this function with `old_len` and `align`.
#[doc(hidden)]
#[cfg_attr(target_arch = "wasm32", no_mangle)]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    if len == 0 {
        return align as *mut u8;
    }
    let layout = Layout::from_size_align(len, align).expect("size and alignment of a list");
    let p = if old_len == 0 {
        alloc(layout)
    } else {
        realloc(old, Layout::from_size_align_unchecked(old_len, align), len)
    };
    if p.is_null() {
        handle_alloc_error(layout)
    }
    p
}
