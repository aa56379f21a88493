//! What the host lends. A module imports what it calls and nothing else, so that a host refuses only those
//! that want what it does not grant; the permission stands at each function.
//!
//! Outside WebAssembly the clock and the log are the machine's own and the rest answers an error, so that
//! `cargo test` runs the functions of a module.

use std::fmt;

/// Why the host did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// With `?`, an error of the host becomes the answer of the function that met it.
impl From<Error> for String {
    fn from(e: Error) -> String {
        e.0
    }
}

/// The weight of a line for [`log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line of a request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// What [`fetch`] sends.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Empty: GET.
    pub method: String,
    pub url: String,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

/// Gives the host's log a line. Permission `log`.
pub fn log(level: Level, message: &str) {
    lent::log(level, message)
}

/// Nanoseconds since 1970. Permission `clock`.
pub fn now() -> u64 {
    lent::now()
}

/// Nanoseconds since some moment that stays the same while the instance lives. Permission `clock`.
pub fn monotonic() -> u64 {
    lent::monotonic()
}

/// Bytes that nobody can foretell. Permission `random`.
pub fn random(len: u32) -> Vec<u8> {
    lent::random(len)
}

/// Values that outlive the instance and are there for the module's next version. Permission `kv`.
pub mod kv {
    use super::{lent, Error};

    /// The value of a key; `None` where it was never set.
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        lent::get(key)
    }

    pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        lent::set(key, value)
    }

    /// Forgets a key; one that is not there is no error.
    pub fn delete(key: &str) -> Result<(), Error> {
        lent::delete(key)
    }

    /// The keys that begin with `prefix`.
    pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
        lent::keys(prefix)
    }
}

/// Asks an HTTP server. Permission `http:HOST` of each host.
pub fn fetch(request: &Request) -> Result<Response, Error> {
    lent::fetch(request)
}

/// Sends a message to whoever listens to the subject. Permission `publish:SUBJECT`.
pub fn publish(subject: &str, payload: &[u8]) -> Result<(), Error> {
    lent::publish(subject, payload)
}

/// The functions of `guest/wit`, as the canonical ABI lowers them.
#[cfg(target_arch = "wasm32")]
mod lent {
    use super::{Error, Header, Level, Request, Response};
    use crate::take;

    #[link(wasm_import_module = "isomer:host/log")]
    extern "C" {
        #[link_name = "log"]
        fn import_log(level: u32, message: *const u8, len: usize);
    }
    #[link(wasm_import_module = "isomer:host/clock")]
    extern "C" {
        #[link_name = "now"]
        fn import_now() -> u64;
        #[link_name = "monotonic"]
        fn import_monotonic() -> u64;
    }
    #[link(wasm_import_module = "isomer:host/random")]
    extern "C" {
        #[link_name = "bytes"]
        fn import_bytes(len: u32, ret: *mut u32);
    }
    #[link(wasm_import_module = "isomer:host/kv")]
    extern "C" {
        #[link_name = "get"]
        fn import_get(key: *const u8, len: usize, ret: *mut u32);
        #[link_name = "set"]
        fn import_set(key: *const u8, len: usize, value: *const u8, n: usize, ret: *mut u32);
        #[link_name = "delete"]
        fn import_delete(key: *const u8, len: usize, ret: *mut u32);
        #[link_name = "keys"]
        fn import_keys(prefix: *const u8, len: usize, ret: *mut u32);
    }
    #[link(wasm_import_module = "isomer:host/http")]
    extern "C" {
        #[link_name = "fetch"]
        fn import_fetch(
            method: *const u8,
            method_len: usize,
            url: *const u8,
            url_len: usize,
            headers: *const u32,
            header_count: usize,
            body: *const u8,
            len: usize,
            ret: *mut u32,
        );
    }
    #[link(wasm_import_module = "isomer:host/publish")]
    extern "C" {
        #[link_name = "publish"]
        fn import_publish(subject: *const u8, len: usize, payload: *const u8, n: usize, ret: *mut u32);
    }

    /// Takes over a list that the host has written.
    unsafe fn bytes(ptr: u32, len: u32) -> Vec<u8> {
        take(ptr as *mut u8, len as usize)
    }

    unsafe fn text(ptr: u32, len: u32) -> String {
        // The host promises UTF-8; one that breaks its word must not break the module.
        String::from_utf8_lossy(&bytes(ptr, len)).into_owned()
    }

    /// Takes over a list of records of `N` words each.
    unsafe fn records<const N: usize>(ptr: u32, len: u32) -> Vec<[u32; N]> {
        if len == 0 {
            return Vec::new();
        }
        // Allocated by cabi_realloc with the alignment and the size that this vector frees.
        Vec::from_raw_parts(ptr as *mut [u32; N], len as usize, len as usize)
    }

    /// A result's tag is a byte; the three beside it are left as they were.
    fn done(ret: &[u32]) -> Result<(), Error> {
        if ret[0] & 255 == 0 {
            return Ok(());
        }
        Err(Error(unsafe { text(ret[1], ret[2]) }))
    }

    pub fn log(level: Level, message: &str) {
        unsafe { import_log(level as u32, message.as_ptr(), message.len()) }
    }

    pub fn now() -> u64 {
        unsafe { import_now() }
    }

    pub fn monotonic() -> u64 {
        unsafe { import_monotonic() }
    }

    pub fn random(len: u32) -> Vec<u8> {
        let mut ret = [0u32; 2];
        unsafe {
            import_bytes(len, ret.as_mut_ptr());
            bytes(ret[0], ret[1])
        }
    }

    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut ret = [0u32; 4];
        unsafe { import_get(key.as_ptr(), key.len(), ret.as_mut_ptr()) };
        done(&ret)?;
        if ret[1] & 255 == 0 {
            return Ok(None);
        }
        Ok(Some(unsafe { bytes(ret[2], ret[3]) }))
    }

    pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        let mut ret = [0u32; 3];
        unsafe { import_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ret.as_mut_ptr()) };
        done(&ret)
    }

    pub fn delete(key: &str) -> Result<(), Error> {
        let mut ret = [0u32; 3];
        unsafe { import_delete(key.as_ptr(), key.len(), ret.as_mut_ptr()) };
        done(&ret)
    }

    pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
        let mut ret = [0u32; 3];
        unsafe { import_keys(prefix.as_ptr(), prefix.len(), ret.as_mut_ptr()) };
        done(&ret)?;
        let list = unsafe { records::<2>(ret[1], ret[2]) };
        Ok(list.iter().map(|k| unsafe { text(k[0], k[1]) }).collect())
    }

    pub fn fetch(request: &Request) -> Result<Response, Error> {
        let mut ret = [0u32; 6];
        let method = if request.method.is_empty() { "GET" } else { &request.method };
        let mut headers = Vec::with_capacity(4 * request.headers.len());
        for h in &request.headers {
            headers.extend([h.name.as_ptr() as u32, h.name.len() as u32, h.value.as_ptr() as u32, h.value.len() as u32]);
        }
        unsafe {
            import_fetch(
                method.as_ptr(),
                method.len(),
                request.url.as_ptr(),
                request.url.len(),
                headers.as_ptr(),
                request.headers.len(),
                request.body.as_ptr(),
                request.body.len(),
                ret.as_mut_ptr(),
            )
        };
        done(&ret)?;
        let lines = unsafe { records::<4>(ret[2], ret[3]) };
        Ok(Response {
            status: ret[1] as u16,
            headers: lines
                .iter()
                .map(|h| unsafe { Header { name: text(h[0], h[1]), value: text(h[2], h[3]) } })
                .collect(),
            body: unsafe { bytes(ret[4], ret[5]) },
        })
    }

    pub fn publish(subject: &str, payload: &[u8]) -> Result<(), Error> {
        let mut ret = [0u32; 3];
        unsafe { import_publish(subject.as_ptr(), subject.len(), payload.as_ptr(), payload.len(), ret.as_mut_ptr()) };
        done(&ret)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod lent {
    use super::{Error, Level, Request, Response};
    use std::time::{SystemTime, UNIX_EPOCH};

    fn none<T>() -> Result<T, Error> {
        Err(Error("no host: this works inside a module alone".to_string()))
    }

    pub fn log(level: Level, message: &str) {
        eprintln!("{:?} {}", level, message)
    }

    pub fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    pub fn monotonic() -> u64 {
        now()
    }

    /// Not for secrets: tests alone come here.
    pub fn random(len: u32) -> Vec<u8> {
        let mut x = now() | 1;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect()
    }

    pub fn get(_: &str) -> Result<Option<Vec<u8>>, Error> {
        none()
    }

    pub fn set(_: &str, _: &[u8]) -> Result<(), Error> {
        none()
    }

    pub fn delete(_: &str) -> Result<(), Error> {
        none()
    }

    pub fn keys(_: &str) -> Result<Vec<String>, Error> {
        none()
    }

    pub fn fetch(_: &Request) -> Result<Response, Error> {
        none()
    }

    pub fn publish(_: &str, _: &[u8]) -> Result<(), Error> {
        none()
    }
}
