//! Waits for what can only be seen from outside.

use std::time::Duration;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// Whether something becomes true in time.
pub(crate) async fn until(limit: Duration, mut is: impl FnMut() -> bool) -> bool {
    let come = async {
        while !is() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(limit, come).await.is_ok()
}
