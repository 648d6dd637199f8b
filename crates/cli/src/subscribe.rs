//! `bayeux subscribe`

use std::time::Duration;

use bayeux::Client;

use crate::args::Subscribe;
use crate::failure::Failure;
use crate::{lines, report, session};

pub(crate) async fn run(options: Subscribe) -> Result<(), Failure> {
    let client = session::open(&options.url, &options.connection).await?;
    session::until_interrupted(&client, print_messages(&client, &options)).await
}

async fn print_messages(client: &Client, options: &Subscribe) -> Result<(), Failure> {
    for channel in &options.channels {
        client.subscribe(channel).await?;
    }
    // A century is for ever.
    let deadline = options.time.unwrap_or(Duration::from_secs(100 * 365 * 86_400));
    let all = async {
        let mut left = options.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = client.receive().await?;
            lines::print(&report::message(&message))?;
            left -= 1;
        }
        Ok(())
    };
    tokio::time::timeout(deadline, all).await.unwrap_or(Ok(()))
}
