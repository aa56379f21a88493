//! A module with everything that a module can do: bytes, pictures, state, and what the host lends.

use isomer_guest::host::{self, kv, Header, Level, Request};
use isomer_guest::Image;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

isomer_guest::bytes!(count, ask);
isomer_guest::image!(brightness);
isomer_guest::state!(save, restore);

/// What the next version takes over: 8 bytes, little-endian, in each language. Atomic, because Rust lets no
/// other static variable change; a module has no threads.
static TOTAL: AtomicU64 = AtomicU64::new(0);

fn save() -> Vec<u8> {
    TOTAL.load(Relaxed).to_le_bytes().to_vec()
}

fn restore(state: &[u8]) {
    TOTAL.store(u64::from_le_bytes(state.try_into().expect("the state of another module")), Relaxed);
}

fn count(input: &[u8]) -> Result<Vec<u8>, String> {
    let total = TOTAL.load(Relaxed) + input.len() as u64;
    TOTAL.store(total, Relaxed);
    Ok(total.to_string().into_bytes())
}

fn brightness(p: Image) -> Result<Vec<u8>, String> {
    if p.rgb.is_empty() {
        return Err("no picture".to_string());
    }
    let sum: u64 = p.rgb.iter().map(|&b| u64::from(b)).sum();
    Ok(format!("{{\"mean\":{}}}", sum / p.rgb.len() as u64).into_bytes())
}

fn ask(input: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(input).map_err(|_| "the request is not text")?;
    let mut words = text.splitn(4, '\n');
    let mut word = || words.next().unwrap_or("");
    let (request, first, second, third) = (word(), word(), word(), word());
    let number = first.parse().unwrap_or(0);
    let answer = match request {
        "stderr" => {
            isomer_guest::log(first);
            "ok".to_string()
        }
        "log" => {
            let level = [Level::Debug, Level::Info, Level::Warn, Level::Error][number as usize];
            host::log(level, second);
            "ok".to_string()
        }
        "now" => host::now().to_string(),
        "monotonic" => host::monotonic().to_string(),
        "random" => host::random(number).iter().map(|b| format!("{b:02x}")).collect(),
        "get" => match kv::get(first)? {
            Some(value) => return Ok([b"value ", value.as_slice()].concat()),
            None => "none".to_string(),
        },
        "set" => kv::set(first, second.as_bytes()).map(ok)?,
        "delete" => kv::delete(first).map(ok)?,
        "keys" => kv::keys(first)?.join(","),
        "fetch" => return fetch(first, second, third),
        "publish" => host::publish(first, second.as_bytes()).map(ok)?,
        _ => return Err(format!("no request {request}")),
    };
    Ok(answer.into_bytes())
}

fn ok(_: ()) -> String {
    "ok".to_string()
}

/// Answers the status, what the server says about its answer in x-station, and the answer.
fn fetch(method: &str, url: &str, body: &str) -> Result<Vec<u8>, String> {
    let r = host::fetch(&Request {
        method: method.to_string(),
        url: url.to_string(),
        headers: vec![Header { name: "x-station".to_string(), value: "seven".to_string() }],
        body: body.as_bytes().to_vec(),
    })?;
    let says = r.headers.iter().find(|h| h.name.eq_ignore_ascii_case("x-station"));
    let head = format!("{} {} ", r.status, says.map_or("", |h| h.value.as_str()));
    Ok([head.into_bytes(), r.body].concat())
}
