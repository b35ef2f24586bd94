//! Webhook bodies that were recorded elsewhere, sent byte for byte and signed anew.
//!
//! A body names its account as `destination`, and ingress takes it on that account's channel alone.
//! So the demo adds a channel for each account that the bodies name, and leaves the bytes as they are.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use mainstem_domain::ChannelId;
use mainstem_domain::configuration::{Channel, Configuration};
use mainstem_line::Webhook;
use mainstem_line_sandbox::DeliverRequest;
use serde::Deserialize;

use super::stage::Stage;

/// The bodies of a folder, each with the channel that it is sent to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bodies {
    bodies: Vec<(ChannelId, String)>,
    /// The accounts that they name.
    pub(super) destinations: BTreeMap<ChannelId, String>,
}

impl Bodies {
    /// Reads every `*.json` of a folder, in the order of their names.
    ///
    /// # Errors
    /// A file that cannot be read, or is no webhook, by its name.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let failed = || format!("--webhooks: cannot read {}", folder.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            bail!("--webhooks: {} holds no *.json file", folder.display());
        }
        paths.sort_unstable();
        let mut read = Self::default();
        for path in paths {
            let failed = || format!("--webhooks: {}", path.display());
            let body = std::fs::read_to_string(&path).with_context(failed)?;
            let destination = Webhook::parse(body.as_bytes()).with_context(failed)?.destination;
            let known = read.destinations.iter().find(|(_, known)| **known == destination);
            let channel = match known {
                Some((channel, _)) => channel.clone(),
                None => format!("line-sdk-{}", read.destinations.len() + 1).parse()?,
            };
            read.destinations.insert(channel.clone(), destination);
            read.bodies.push((channel, body));
        }
        Ok(read)
    }

    /// Adds a channel of no brand and no store for each account.
    pub(super) fn add_channels(&self, example: &mut Configuration) {
        for channel in self.destinations.keys() {
            example.channels.insert(channel.clone(), Channel::default());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Sends them, one after the other.
    ///
    /// # Errors
    /// One that is not answered 200.
    pub(super) async fn send(&self, stage: &Stage) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            status: u16,
        }
        let client = reqwest::Client::builder().no_proxy().build()?;
        for (channel, body) in &self.bodies {
            let request = DeliverRequest {
                webhook_base: format!("http://{}", stage.running.webhooks),
                channel: channel.clone(),
                body: body.clone(),
            };
            let url = format!("{}/sandbox/deliver", stage.line);
            let answer = client.post(url).json(&request).send().await?.error_for_status()?;
            let Answer { status } = answer.json().await?;
            if status != 200 {
                bail!("ingress answers {status} to a body of {channel}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_stay_as_they_are_and_every_account_has_a_channel() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("a.json", "{ \"destination\": \"U1\",\n \"events\": [] }"),
            ("b.json", "{\"events\":[],\"destination\":\"U2\"}"),
            ("c.json", "{\"events\":[],\"destination\":\"U1\"}"),
            ("notes.txt", "no webhook"),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let read = Bodies::read(folder.path()).unwrap();
        let sent: Vec<_> =
            read.bodies.iter().map(|(channel, body)| (channel.as_str(), body.as_str())).collect();
        assert_eq!(
            sent,
            [("line-sdk-1", files[0].1), ("line-sdk-2", files[1].1), ("line-sdk-1", files[2].1)]
        );
        let mut example = Configuration::default();
        read.add_channels(&mut example);
        assert_eq!((example.channels.len(), example.lint()), (2, Vec::new()));

        std::fs::write(folder.path().join("d.json"), "{}").unwrap();
        let error = format!("{:#}", Bodies::read(folder.path()).unwrap_err());
        assert!(error.contains("d.json: not a webhook of LINE"), "{error}");
        assert!(Bodies::read(&folder.path().join("none")).is_err());
    }
}
