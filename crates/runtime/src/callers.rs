//! The callers file: who may call, and how each proves it.
//!
//! ```toml
//! [[caller]]
//! name = "unit/repair-taipei"        # stands in records; no personal data
//! role = "unit"                      # store, desk, unit, operator or service
//! token_sha256 = "9f86d081884c7d65…" # of the bearer token, in hexadecimal
//! previous_token_sha256 = "…"       # the token before, until everybody has the new one
//! certificate_sha256 = "…"           # of the client certificate's DER; either or both
//! scope = { queues = ["repair-taipei"] } # all = true, or stores, queues, brands
//! ```
//!
//! The file holds no secrets: from a hash of a random token the token cannot be found. A token that
//! a person could remember is not one.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::{Refusal, RefusalCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use toml::{Table, Value};

type Hash = [u8; 32];

/// Everybody who may call. The default is nobody.
#[derive(Clone, Default)]
pub struct Callers(Vec<Known>);

#[derive(Clone)]
struct Known {
    caller: Caller,
    token: Option<Hash>,
    previous_token: Option<Hash>,
    certificate: Option<Hash>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    role: Role,
    token_sha256: Option<String>,
    previous_token_sha256: Option<String>,
    certificate_sha256: Option<String>,
    #[serde(default)]
    scope: Scope,
}

/// Why a callers file is refused: everything that is wrong, each with its entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the callers file is refused: {}", problems.join("; "))]
pub struct CallersError {
    /// At least one.
    pub problems: Vec<String>,
}

impl Callers {
    /// Reads the file; without one, nobody may call.
    pub fn load(path: Option<&Path>) -> Result<Self, CallersError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|error| CallersError {
            problems: vec![format!("{}: cannot be read: {error}", path.display())],
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a callers file.
    pub fn parse(text: &str) -> Result<Self, CallersError> {
        let mut file: Table = text
            .parse()
            .map_err(|error| CallersError { problems: vec![format!("is no TOML: {error}")] })?;
        let entries = match file.remove("caller") {
            Some(Value::Array(entries)) => entries,
            None => Vec::new(),
            Some(_) => {
                return Err(CallersError {
                    problems: vec!["write entries as [[caller]]".to_owned()],
                });
            }
        };
        let mut problems: Vec<_> = file
            .keys()
            .map(|key| format!("{key} is unknown; write entries as [[caller]]"))
            .collect();
        let mut seen = Seen::default();
        let mut callers = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or("without a name");
            let place = format!("entry {} ({name})", index + 1);
            match known(entry).and_then(|known| seen.add(&known).map(|()| known)) {
                Ok(known) => callers.push(known),
                Err(problem) => problems.push(format!("{place}: {problem}")),
            }
        }
        if problems.is_empty() { Ok(Self(callers)) } else { Err(CallersError { problems }) }
    }

    /// Who has this bearer token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, without the token in it.
    pub fn authenticate_bearer(&self, token: &str) -> Result<&Caller, Refusal> {
        let hash: Hash = Sha256::digest(token).into();
        self.find(&hash, |known| [known.token.as_ref(), known.previous_token.as_ref()]).ok_or_else(|| {
            unauthenticated(
                "UNKNOWN_TOKEN",
                "nobody has this bearer token; ask the operator to enter its SHA-256 in the callers file",
            )
        })
    }

    /// Who has this certificate (DER). That it is valid and signed by the client CA is the TLS
    /// server's business.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub fn authenticate_certificate(&self, der: &[u8]) -> Result<&Caller, Refusal> {
        let hash: Hash = Sha256::digest(der).into();
        self.find(&hash, |known| [known.certificate.as_ref(), None]).ok_or_else(|| {
            unauthenticated(
                "UNKNOWN_CERTIFICATE",
                "nobody has this client certificate; ask the operator to enter its SHA-256 in the callers file",
            )
        })
    }

    /// Compares with every entry, so that the time says nothing about which one it was.
    fn find(&self, hash: &Hash, proofs: impl Fn(&Known) -> [Option<&Hash>; 2]) -> Option<&Caller> {
        let mut found = None;
        for known in &self.0 {
            let none = Choice::from(0);
            let [one, other] =
                proofs(known).map(|proof| proof.map_or(none, |proof| proof.ct_eq(hash)));
            let same = one | other;
            if bool::from(same) {
                found = Some(&known.caller);
            }
        }
        found
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|known| &known.caller.name)).finish()
    }
}

pub(crate) fn unauthenticated(reason: &str, message: &str) -> Refusal {
    Refusal::new(RefusalCode::Unauthenticated, reason, message)
}

fn known(entry: Value) -> Result<Known, String> {
    let entry: Entry =
        entry.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    if !(1..=128).contains(&entry.name.len())
        || !entry.name.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err("name must be 1 to 128 printable ASCII characters without blanks".to_owned());
    }
    if entry.token_sha256.is_none() && entry.certificate_sha256.is_none() {
        return Err("has no proof; give token_sha256 or certificate_sha256".to_owned());
    }
    let Scope { all, stores, queues, brands } = &entry.scope;
    if *all && !(stores.is_empty() && queues.is_empty() && brands.is_empty()) {
        return Err("scope has both all and a part; keep one".to_owned());
    }
    Ok(Known {
        token: hash("token_sha256", entry.token_sha256)?,
        previous_token: hash("previous_token_sha256", entry.previous_token_sha256)?,
        certificate: hash("certificate_sha256", entry.certificate_sha256)?,
        caller: Caller { name: entry.name, role: entry.role, scope: entry.scope },
    })
}

fn hash(key: &str, text: Option<String>) -> Result<Option<Hash>, String> {
    let Some(text) = text else { return Ok(None) };
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let hash = bytes.and_then(|bytes| Hash::try_from(bytes).ok());
    let hash = hash.ok_or_else(|| format!("{key} must be 64 hexadecimal digits"))?;
    // The hash of nothing would let in a caller that sends nothing.
    if hash == Hash::from(Sha256::digest("")) {
        return Err(format!("{key} is the hash of an empty text; hash the token itself"));
    }
    Ok(Some(hash))
}

#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    tokens: BTreeSet<Hash>,
    certificates: BTreeSet<Hash>,
}

impl Seen {
    fn add(&mut self, known: &Known) -> Result<(), String> {
        if !self.names.insert(known.caller.name.clone()) {
            return Err("name stands in an earlier entry too".to_owned());
        }
        if known.token.is_some_and(|token| !self.tokens.insert(token)) {
            return Err("token_sha256 stands in an earlier entry too".to_owned());
        }
        if known.previous_token.is_some_and(|token| !self.tokens.insert(token)) {
            return Err("previous_token_sha256 stands in the file a second time".to_owned());
        }
        if known.certificate.is_some_and(|certificate| !self.certificates.insert(certificate)) {
            return Err("certificate_sha256 stands in an earlier entry too".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use data_encoding::HEXLOWER;

    use super::*;

    fn entry(name: &str, proof: &str, of: &str) -> String {
        let hash = HEXLOWER.encode(&Sha256::digest(of));
        format!("[[caller]]\nname = \"{name}\"\nrole = \"unit\"\n{proof}_sha256 = \"{hash}\"\n")
    }

    fn problems(text: &str) -> Vec<String> {
        Callers::parse(text).unwrap_err().problems
    }

    #[test]
    fn a_token_or_a_certificate_tells_who_calls() {
        let text = entry("unit/a", "token", "alpha") + "scope = { queues = [\"repair\"] }\n";
        let text = text + &entry("unit/b", "certificate", "der").to_uppercase_hash();
        let callers = Callers::parse(&text).unwrap();
        let caller = callers.authenticate_bearer("alpha").unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("unit/a", Role::Unit));
        assert!(caller.reaches(None, Some(&"repair".parse().unwrap()), None));
        assert_eq!(callers.authenticate_certificate(b"der").unwrap().name, "unit/b");
        // A certificate's hash is no token's, and the other way round.
        assert!(callers.authenticate_bearer("der").is_err());
        assert!(callers.authenticate_certificate(b"alpha").is_err());
        assert_eq!(format!("{callers:?}"), "[\"unit/a\", \"unit/b\"]");
    }

    #[test]
    fn while_a_token_is_rotated_both_are_the_same_caller() {
        let previous = HEXLOWER.encode(&Sha256::digest("old"));
        let previous = format!("previous_token_sha256 = \"{previous}\"\n");
        let callers = Callers::parse(&(entry("unit/a", "token", "new") + &previous)).unwrap();
        for token in ["new", "old"] {
            assert_eq!(callers.authenticate_bearer(token).unwrap().name, "unit/a");
        }
        assert!(callers.authenticate_bearer("older").is_err());
        let again = entry("unit/a", "token", "new") + &previous + &entry("unit/b", "token", "old");
        assert!(problems(&again)[0].contains("stands in an earlier entry"));
        let twice = entry("unit/a", "token", "old") + &previous;
        assert!(problems(&twice)[0].contains("previous_token_sha256 stands in the file"));
    }

    #[test]
    fn a_refusal_says_what_to_do_and_not_the_token() {
        let callers = Callers::load(None).unwrap();
        for token in ["", "guess"] {
            let refusal = callers.authenticate_bearer(token).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unauthenticated);
            assert!(refusal.message.contains("callers file"));
            assert!(!format!("{refusal:?}").contains("guess"));
        }
    }

    #[test]
    fn every_wrong_entry_is_named() {
        let text = entry("unit/a", "token", "a")
            + &entry("unit/a", "token", "b")
            + &entry("unit/c", "token", "a")
            + &entry("unit/d", "certificate", "")
            + "[[caller]]\nname = \"unit/e\"\nrole = \"unit\"\n"
            + "[[caller]]\nname = \"unit/f\"\nrole = \"king\"\ntoken_sha256 = \"00\"\n"
            + "[[caller]]\nname = \"unit/g\"\nrole = \"unit\"\ntoken_sha256 = \"00\"\n"
            + &entry("unit/h", "token", "h")
            + "scope = { everything = true }\n"
            + &entry("unit i", "token", "i")
            + &entry("unit/j", "token", "j")
            + "scope = { all = true, stores = [\"s1\"] }\n"
            + "[[caller]]\nrole = \"unit\"\n";
        let found = problems(&text);
        let expected = [
            "entry 2 (unit/a): name stands in an earlier entry",
            "entry 3 (unit/c): token_sha256 stands in an earlier entry",
            "entry 4 (unit/d): certificate_sha256 is the hash of an empty text",
            "entry 5 (unit/e): has no proof",
            "entry 6 (unit/f): unknown variant `king`",
            "entry 7 (unit/g): token_sha256 must be 64 hexadecimal digits",
            "entry 8 (unit/h): unknown field `everything`",
            "entry 9 (unit i): name must be 1 to 128",
            "entry 10 (unit/j): scope has both all and a part",
            "entry 11 (without a name): missing field `name`",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} – {expected}");
        }
    }

    #[test]
    fn a_file_that_is_no_list_of_callers_is_refused() {
        assert!(problems("caller = 1")[0].contains("[[caller]]"));
        assert!(problems("callers = []")[0].starts_with("callers is unknown"));
        assert!(problems("[[caller")[0].starts_with("is no TOML"));
        assert!(Callers::load(Some(Path::new("no/such/file"))).is_err());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(entry("unit/a", "token", "a").as_bytes()).unwrap();
        assert!(Callers::load(Some(file.path())).unwrap().authenticate_bearer("a").is_ok());
    }

    trait UppercaseHash {
        fn to_uppercase_hash(&self) -> String;
    }

    impl UppercaseHash for String {
        /// Both spellings of hexadecimal are in use.
        fn to_uppercase_hash(&self) -> String {
            let (before, hash) = self.split_once("sha256 = ").unwrap();
            format!("{before}sha256 = {}", hash.to_uppercase())
        }
    }
}
