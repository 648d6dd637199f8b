//! Much at once.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::outcome::Outcome;

fn numbers(channel: &str, numbers: std::ops::Range<u32>) -> Vec<(String, Value)> {
    numbers.map(|n| (channel.to_owned(), json!(n))).collect()
}

pub(super) async fn batch(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/batch/a").await?;
    ann.batch(&numbers("/batch/a", 0..100)).await?;
    for n in 0..100 {
        ann.expect("/batch/a", &json!(n)).await?;
    }
    Ok(())
}

pub(super) async fn large(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/large").await?;
    bob.subscribe("/large").await?;
    // Not all the same, so that a piece that is missing or twice there is noticed.
    let text: String = (0..1024 * 1024).map(|n: u32| char::from(b'a' + (n / 7 % 26) as u8)).collect();
    for from in [&ann, &bob] {
        let data = json!(text);
        from.publish("/large", &data).await?;
        ann.expect("/large", &data).await?;
        bob.expect("/large", &data).await?;
    }
    Ok(())
}

pub(super) async fn many(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/many/down").await?;
    bob.subscribe("/many/up").await?;
    let down = async {
        for first in (0..10_000).step_by(100) {
            bob.batch(&numbers("/many/down", first..first + 100)).await?;
        }
        Outcome::Ok(())
    };
    let received = async {
        for n in 0..10_000 {
            ann.expect("/many/down", &json!(n)).await?;
        }
        Ok(())
    };
    tokio::try_join!(down, received)?;
    let up = async {
        for first in (0..2000).step_by(100) {
            ann.batch(&numbers("/many/up", first..first + 100)).await?;
        }
        Outcome::Ok(())
    };
    let received = async {
        for n in 0..2000 {
            bob.expect("/many/up", &json!(n)).await?;
        }
        Ok(())
    };
    tokio::try_join!(up, received)?;
    Ok(())
}
