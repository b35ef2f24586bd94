use std::io::Write as _;
use std::time::Duration;

use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(file.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(Some(temporary.path()), environment)
}

fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = load(file, environment).unwrap_err();
    error.problems.iter().map(|problem| format!("{}: {}", problem.key, problem.what)).collect()
}

#[test]
fn the_defaults_are_whole_and_valid() {
    let config = Config::load(None, std::iter::empty()).unwrap();
    assert_eq!(config.engine.drain, Duration::from_secs(5));
    assert_eq!(config.routing.grpc_listen.port(), 7702);
    assert!(config.callers.file.is_none());
}

#[test]
fn later_layers_win() {
    let file = "[engine]\ndrain_ms = 800\nlease_renew_ms = 500\n[clock]\nspeed = 60\norigin_real = \"2026-11-21T09:00:00Z\"\norigin_virtual = \"2026-11-21T00:00:00Z\"";
    let config = load(file, &[("MAINSTEM__ENGINE__DRAIN_MS", "900"), ("PATH", "/bin")]).unwrap();
    assert_eq!(config.engine.drain, Duration::from_millis(900));
    assert_eq!(config.engine.lease_renew, Duration::from_millis(500));
    assert!((config.clock.speed - 60.0).abs() < f64::EPSILON);
}

#[test]
fn the_environment_may_name_the_file() {
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(b"[sender]\nconcurrency = 8").unwrap();
    let path = temporary.path().display().to_string();
    let named = [("MAINSTEM_CONFIG".to_owned(), path)];
    assert_eq!(Config::load(None, named.into_iter()).unwrap().sender.concurrency, 8);
    let missing = [("MAINSTEM_CONFIG".to_owned(), "no/such/file.toml".to_owned())];
    let error = Config::load(None, missing.into_iter()).unwrap_err();
    assert_eq!(error.problems[0].key, "no/such/file.toml");
}

#[test]
fn every_problem_is_listed_with_its_key() {
    let file = "stray = 1\n[nats]\nurll = \"x\"\n[sender]\nconcurrency = 0\n[engine]\ndrain_ms = -1\n[routing]\ngrpc_listen = \"here\"";
    let environment = [
        ("MAINSTEM__ENGINE__LEASE_RENEW_MS", "soon"),
        ("MAINSTEM__NATS__URL", "nats://u:p@host"),
        ("MAINSTEM__NO_SECTION__KEY", "1"),
        ("MAINSTEM__TELEMETRY__LOG_FORMAT", "xml"),
    ];
    let found = problems(file, &environment);
    for key in [
        "stray: is no section",
        "nats.urll: is unknown",
        "sender.concurrency: is not 1 to 1024",
        "engine.drain_ms: has a wrong value",
        "routing.grpc_listen: has a wrong value",
        "engine.lease_renew_ms: has a wrong value",
        "nats.url: carries a user",
        "no_section.key: is unknown",
        "telemetry.log_format: has a wrong value",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(key)), "{key}: {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
    let error = load("", &environment[2..3]).unwrap_err().to_string();
    assert!(
        error.contains("no_section.key (the environment) is unknown; the sections are"),
        "{error}"
    );
}

#[test]
fn the_layer_of_a_problem_is_named() {
    let file = "nats = 1\n[engine]\ndrain_ms = \"soon\"\n[clock.speed]\nx = 1";
    let environment = [("MAINSTEM__NATS__URL", "x"), ("MAINSTEM__SENDER__CONCURRENCY", "0")];
    let problems = load(file, &environment).unwrap_err().problems;
    let from: Vec<_> = problems.iter().map(|one| (&*one.key, &*one.layer)).collect();
    let file = from[0].1;
    assert!(file.contains("tmp"), "{from:?}");
    let expected = [
        ("clock.speed", file),
        ("engine.drain_ms", file),
        ("nats", file),
        ("nats.url", "the environment"),
        ("sender.concurrency", "the environment"),
    ];
    assert_eq!(from, expected, "{problems:#?}");
}

#[test]
fn the_broken_line_of_a_file_is_named_and_not_shown() {
    let error = load("[operator]\ntoken = \"hush\" hush\n", &[]).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("hush"), "{error}");
}

#[test]
fn what_belongs_together_is_asked_for_together() {
    let cases = [
        ("[clock]\nspeed = 2.0", "clock.origin_real"),
        ("[clock]\nspeed = nan", "clock.speed"),
        ("[clock]\norigin_real = \"2026-11-21T09:00:00Z\"", "clock.origin_real"),
        ("[clock]\norigin_real = \"today\"", "clock.origin_real"),
        ("[grpc]\ntls_key = \"key.pem\"", "grpc.tls_certificate"),
        ("[grpc]\nclient_ca = \"ca.pem\"", "grpc.client_ca"),
        ("[engine]\nlease_renew_ms = 2000", "engine.lease_renew_ms"),
        ("[ingress]\nhandle_key = \"short\"", "ingress.handle_key"),
        ("[routing]\nbinding_key = \"short\"", "routing.binding_key"),
        ("[telemetry]\nlog_filter = \"a=b=c\"", "telemetry.log_filter"),
        ("[sender]\nline_api_url = \"ftp://x\"", "sender.line_api_url"),
    ];
    for (file, key) in cases {
        let found = problems(file, &[]);
        assert!(found.iter().any(|problem| problem.starts_with(key)), "{file}: {found:#?}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"  hush-hush\n").unwrap();
    let path = secret.path().display().to_string();
    let config = load(
        &format!("[routing]\nnats_password_file = \"{path}\"\n[sender]\ntoken = \"hush\""),
        &[("MAINSTEM__SENDER__TOKEN_FILE", &path)],
    )
    .unwrap();
    assert_eq!(config.routing.nats_password.expose(), "hush-hush");
    assert_eq!(config.sender.token.expose(), "hush-hush");
    let shown = format!("{config} {config:?}");
    assert!(shown.contains("token: ***") && !shown.contains("hush"), "{shown}");

    // Among the layers the file of a secret counts as the secret; digits stay the text they are.
    let file = format!("[sender]\ntoken_file = \"{path}\"");
    let config = load(&file, &[("MAINSTEM__SENDER__TOKEN", "0123e4")]).unwrap();
    assert_eq!(config.sender.token.expose(), "0123e4");

    let twice = [("MAINSTEM__SENDER__TOKEN", "a"), ("MAINSTEM__SENDER__TOKEN_FILE", path.as_str())];
    assert_eq!(problems("", &twice), ["sender.token: is given twice"]);
    let missing = problems("", &[("MAINSTEM__SENDER__TOKEN_FILE", "no/such/file")]);
    assert!(missing[0].starts_with("sender.token_file: names no/such/file"), "{missing:?}");
    assert_eq!(problems("[operator]\ntoken = 12345", &[]), ["operator.token: is no text"]);
    let required = config.operator.token.required("operator.token").unwrap_err().to_string();
    assert!(required.contains("MAINSTEM__OPERATOR__TOKEN_FILE"), "{required}");
    // Only secrets may be kept in files of their own.
    let key = problems("", &[("MAINSTEM__ERASURE__KEY_FILE", "no/such/file")]);
    assert!(key[0].starts_with("erasure.key_file: names no/such/file"), "{key:?}");
    let key = problems("", &[("MAINSTEM__ROUTING__BINDING_KEY_FILE", "no/such/file")]);
    assert!(key[0].starts_with("routing.binding_key_file: names no/such/file"), "{key:?}");
    assert_eq!(problems("[nats]\nurl_file = \"x\"", &[]), ["nats.url_file: is unknown"]);
}

#[test]
fn the_environment_is_readable() {
    assert!(environment().any(|(name, _)| name == "PATH"));
}
