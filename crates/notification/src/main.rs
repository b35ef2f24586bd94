//! notification as a process of its own.

use std::process::ExitCode;

use mainstem_notification::NotificationMachine;
use mainstem_runtime::service;

fn main() -> ExitCode {
    mainstem_runtime::main("notification", async |process| {
        service::start::<NotificationMachine>(process, &process.config.notification).await?;
        Ok(())
    })
}
