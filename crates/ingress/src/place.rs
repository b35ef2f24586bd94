use mainstem_domain::ChannelId;
use mainstem_domain::configuration::{Channel, Configuration};

/// A channel as the directory in force has it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The channel.
    pub id: &'a ChannelId,
    /// What the directory says of it.
    pub channel: &'a Channel,
    /// The whole configuration in force.
    pub configuration: &'a Configuration,
}

impl<'a> Place<'a> {
    /// The channel's, if the directory holds it.
    pub fn of(id: &'a ChannelId, configuration: &'a Configuration) -> Option<Self> {
        let channel = configuration.channels.get(id)?;
        Some(Self { id, channel, configuration })
    }
}
