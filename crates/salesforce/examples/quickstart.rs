//! Receives platform events of a simulated org, in this process. With a real org, only the login differs.

use bayeux::replay::{FileStore, Replay};
use bayeux_salesforce::{Login, PlatformEvent, Salesforce};
use bayeux_testkit::FakeSalesforce;
use serde_json::json;

#[derive(serde::Deserialize)]
struct Order {
    #[serde(rename = "Number__c")]
    number: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let org = FakeSalesforce::start().await;
    let markers = std::env::temp_dir().join(format!("orders-{}.markers", std::process::id()));

    let salesforce = Salesforce::login(Login::client_credentials(org.url(), "app", "app-secret")).await?;
    let store = FileStore::open_for(&markers, salesforce.owner())?;
    let client = salesforce.client().replay_store(store).build()?;
    client.open().await?;
    let mut orders = client.stream_from::<PlatformEvent<Order>>("/event/Order__e", Replay::All).await?;

    for number in ["O-1", "O-2", "O-3"] {
        org.platform_event("/event/Order__e", json!({"Number__c": number}));
    }
    while let Some(order) = orders.try_next().await? {
        println!("{} (replay id {})", order.payload.number, order.event.replay_id);
        if order.payload.number == "O-3" {
            break;
        }
    }
    client.close().await?;
    drop(orders);
    std::fs::remove_file(markers)?;
    Ok(())
}
