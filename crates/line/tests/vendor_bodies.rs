//! LINE's own sample webhooks, which lie beside the repository and are not part of it.

use std::path::Path;

use mainstem_domain::configuration::Mode;
use mainstem_line::{ChannelFacts, LineEvent, Webhook, to_channel_event};

#[test]
fn every_sample_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/line-webhooks");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: no sample webhooks beside the repository");
        return;
    };
    let facts = ChannelFacts {
        channel: "line-07".parse().unwrap(),
        store: None,
        brand: None,
        provider: "p1".to_owned(),
        mode: Mode::Live,
    };
    let mut events = 0;
    for file in files {
        let path = file.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let webhook = Webhook::parse(&body).unwrap();
        assert_eq!(webhook.destination.len(), 33, "{}", path.display());
        for raw in webhook.events {
            let event = LineEvent::parse(raw).unwrap();
            let received_at = event.occurred_at.unwrap();
            let written = to_channel_event(&event, &facts, received_at).unwrap();
            let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
            let raw: serde_json::Value = serde_json::from_str(raw.get()).unwrap();
            assert_eq!(written["raw"], raw, "{}", path.display());
            let person = raw["source"]["type"] == "user" && raw["source"].get("userId").is_some();
            assert_eq!(written.get("identifiers").is_some(), person, "{}", path.display());
            events += 1;
        }
    }
    assert!(events >= 27, "{events}");
}
