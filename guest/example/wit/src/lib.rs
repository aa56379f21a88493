//! The functions of the example station, with a border that wit-bindgen writes from guest/wit.

wit_bindgen::generate!({ path: ["../../wit", "wit"], world: "example:visitor/visitor", generate_all });

use isomer::host::{clock, http, kv, log, publish, random};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

struct Visitor;
export!(Visitor);

static TOTAL: AtomicU64 = AtomicU64::new(0);

impl Guest for Visitor {
    fn count(input: Vec<u8>) -> Result<Vec<u8>, String> {
        let total = TOTAL.load(Relaxed) + input.len() as u64;
        TOTAL.store(total, Relaxed);
        Ok(total.to_string().into_bytes())
    }

    fn brightness(p: Image) -> Result<Vec<u8>, String> {
        let sum: u64 = p.rgb.iter().map(|&b| u64::from(b)).sum();
        Ok(format!("{{\"mean\":{}}}", sum / p.rgb.len() as u64).into_bytes())
    }

    fn ask(input: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(input).map_err(|_| "the request is not text")?;
        let mut words = text.splitn(4, '\n');
        let mut word = || words.next().unwrap_or("");
        let (request, first, second, third) = (word(), word(), word(), word());
        let number = first.parse().unwrap_or(0);
        let mut answer = "ok".to_string();
        match request {
            "log" => {
                let level = [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error][number as usize];
                log::log(level, second);
            }
            "now" => answer = clock::now().to_string(),
            "monotonic" => answer = clock::monotonic().to_string(),
            "random" => answer = random::bytes(number).iter().map(|b| format!("{b:02x}")).collect(),
            "get" => match kv::get(first)? {
                Some(value) => return Ok([b"value ", value.as_slice()].concat()),
                None => answer = "none".to_string(),
            },
            "set" => kv::set(first, second.as_bytes())?,
            "delete" => kv::delete(first)?,
            "keys" => answer = kv::keys(first)?.join(","),
            "fetch" => {
                let r = http::fetch(&http::Request {
                    method: if first.is_empty() { "GET" } else { first }.to_string(),
                    url: second.to_string(),
                    headers: vec![("x-station".to_string(), "seven".to_string())],
                    body: third.as_bytes().to_vec(),
                })?;
                let says = r.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-station"));
                let head = format!("{} {} ", r.status, says.map_or("", |(_, value)| value.as_str()));
                return Ok([head.into_bytes(), r.body].concat());
            }
            "publish" => publish::publish(first, second.as_bytes())?,
            _ => return Err(format!("no request {request}")),
        }
        Ok(answer.into_bytes())
    }

    fn half_of(x: f64) -> f64 {
        x / 2.0
    }
}

/// The state's functions have names that WIT cannot spell, so they are written by hand.
mod state {
    use super::{Relaxed, TOTAL};
    use std::sync::atomic::AtomicU64;

    static SAVED: AtomicU64 = AtomicU64::new(0);
    static LIST: AtomicU64 = AtomicU64::new(0);

    /// list<u8>: address and length, little-endian, in one word.
    #[export_name = "isomer_save"]
    extern "C" fn save() -> *const u8 {
        SAVED.store(TOTAL.load(Relaxed), Relaxed);
        LIST.store(SAVED.as_ptr() as u64 | 8 << 32, Relaxed);
        LIST.as_ptr().cast()
    }

    #[export_name = "isomer_restore"]
    unsafe extern "C" fn restore(ptr: *mut u8, len: usize) {
        let state = unsafe { Vec::from_raw_parts(ptr, len, len) };
        TOTAL.store(u64::from_le_bytes(state.try_into().expect("the state of another module")), Relaxed);
    }
}
