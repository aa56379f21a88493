//! A module that adds up the energy of a meter's pulses.

const PULSES_PER_KWH: f64 = 1000.0;

isomer_guest::bytes!(total);

// Written without a JSON library, so that the module needs no crate but the SDK; serde_json works too.
fn total(input: &[u8]) -> Result<Vec<u8>, String> {
    let want = "input: want a JSON list of pulse counts, such as [250, 750]";
    let text = std::str::from_utf8(input).map_err(|_| want)?.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(want)?.trim();
    let mut all = 0u64;
    for part in inner.split(',').map(str::trim).filter(|_| !inner.is_empty()) {
        if part.starts_with('-') {
            return Err("a pulse count is below 0".to_string());
        }
        if part.is_empty() || part.len() > 15 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(want.to_string());
        }
        all += part.parse::<u64>().map_err(|_| want)?;
    }
    Ok(format!("{{\"kWh\":{}}}", all as f64 / PULSES_PER_KWH).into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn total() {
        assert_eq!(super::total(b"[250, 750]").unwrap(), b"{\"kWh\":1}");
        assert!(super::total(b"[-1]").is_err());
    }
}
