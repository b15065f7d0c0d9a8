//! The workload's certificate with its key, on disk.

use std::time::SystemTime;

use meltemi_identity::{SpiffeId, chain, tls};
use serde::{Deserialize, Serialize};

use super::Directory;
use crate::identity::Workload;
use crate::istiod::Failure;

const FILE: &str = "certificate.json";
const FORMAT: u32 = 1;
/// Limit of the file, in bytes.
const MAX_FILE: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    chain: String,
    key: String,
    roots: String,
}

/// Writes a certificate with its key.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn save(directory: &Directory, workload: &Workload) -> Result<(), Failure> {
    let Workload { chain_pem, key_pem, root_pem, .. } = workload.clone();
    let stored = Stored { format: FORMAT, chain: chain_pem, key: key_pem, roots: root_pem };
    Ok(directory.write(FILE, &serde_json::to_vec(&stored)?)?)
}

/// Reads the certificate of `id`; `None` when there is none.
///
/// # Errors
/// When it is not whole, of another format or identity, or has expired.
pub(crate) fn load(
    directory: &Directory,
    id: &SpiffeId,
    now: SystemTime,
) -> Result<Option<Workload>, Failure> {
    let Some(bytes) = directory.read(FILE, MAX_FILE)? else { return Ok(None) };
    // The parser's own words may hold a piece of the key.
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| "it is damaged")?;
    if value["format"] != FORMAT {
        return Err(format!("format {}, expected {FORMAT}", value["format"]).into());
    }
    let stored: Stored = serde_json::from_value(value).map_err(|_| "it is damaged")?;
    let certificates = chain::parse(&stored.chain)?;
    let info = chain::inspect(certificates.first().ok_or("there is no certificate in it")?)?;
    if info.spiffe_id()?.as_ref() != Some(id) {
        return Err(format!("it is of {:?}", info.uris).into());
    }
    if info.not_after <= now {
        return Err("it has expired".into());
    }
    chain::parse(&stored.roots)?;
    tls::Credential::from_pem(&stored.chain, &stored.key)?;
    let Stored { chain: chain_pem, key: key_pem, roots: root_pem, .. } = stored;
    Ok(Some(Workload {
        chain_pem,
        key_pem,
        root_pem,
        not_before: info.not_before,
        not_after: info.not_after,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meltemi_identity::authority::Authority;
    use meltemi_identity::csr;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn id(account: &str) -> SpiffeId {
        SpiffeId::new("cluster.local", "default", account).unwrap()
    }

    fn workload() -> Workload {
        let authority = Authority::self_signed("cluster.local", 99 * HOUR).unwrap();
        let (key_pem, request) = csr::generate(&id("reviews")).unwrap();
        let chain_pem = authority.sign(&request, &id("reviews"), HOUR).unwrap();
        let info = chain::inspect(&chain::parse(&chain_pem).unwrap()[0]).unwrap();
        Workload {
            chain_pem,
            key_pem,
            root_pem: authority.root_pem(),
            not_before: info.not_before,
            not_after: info.not_after,
        }
    }

    #[test]
    fn only_a_valid_certificate_of_ours_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let now = SystemTime::now();
        assert_eq!(load(&directory, &id("reviews"), now).unwrap(), None);
        let workload = workload();
        save(&directory, &workload).unwrap();
        assert_eq!(load(&directory, &id("reviews"), now).unwrap(), Some(workload.clone()));
        let refused = |id: &SpiffeId, now, expected: &str| {
            let error = load(&directory, id, now).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(&id("ratings"), now, "sa/reviews");
        refused(&id("reviews"), now + 2 * HOUR, "it has expired");
        let other = self::workload();
        save(&directory, &Workload { key_pem: other.key_pem, ..workload.clone() }).unwrap();
        refused(&id("reviews"), now, "key");
        save(&directory, &Workload { chain_pem: "garbage".into(), ..workload }).unwrap();
        refused(&id("reviews"), now, "no certificate");
        directory.write(FILE, b"{\"format\": 2}").unwrap();
        refused(&id("reviews"), now, "format 2, expected 1");
        directory.write(FILE, b"\0").unwrap();
        refused(&id("reviews"), now, "it is damaged");
    }
}
