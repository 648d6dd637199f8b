//! Requests to a service, with typed answers and the service's errors.
//!
//! `cargo run -p bayeux --example request_reply`

use bayeux::Client;
use bayeux_server::{Request, Server, ServiceError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let square_root = |request: Request| async move {
        let number: f64 = request.data.decode()?;
        if number < 0.0 {
            return Err(ServiceError::new(400, "negative numbers have no square root here"));
        }
        Ok(Some(bayeux_server::Data::encode(&number.sqrt())?))
    };
    let running =
        Server::builder().service("/service/sqrt", square_root).build()?.bind("127.0.0.1:0").await?;

    let client = Client::connect(&running.url()).await?;
    let root: f64 = client.request("/service/sqrt", &2).await?;
    println!("the square root of 2 is {root}");

    // Several at once: each answer finds its request.
    let (nine, sixteen) = tokio::try_join!(
        client.request::<f64>("/service/sqrt", &9),
        client.request::<f64>("/service/sqrt", &16)
    )?;
    println!("those of 9 and 16 are {nine} and {sixteen}");

    if let Err(error) = client.request::<f64>("/service/sqrt", &-1).await {
        println!("code {:?}: {error}", error.code());
    }
    client.close().await?;
    running.shutdown().await;
    Ok(())
}
