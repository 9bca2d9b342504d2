//! Clients that do not say who they are (behaviour reference, section 2.2).

mod support;

use leveret_broker::{Broker, Properties};
use support::{Greeting, broker, start};

fn anonymous() -> Greeting {
    Greeting {
        mechanism: "ANONYMOUS",
        response: Vec::new(),
        ..Greeting::default()
    }
}

#[tokio::test]
async fn they_are_let_in_as_the_chosen_user_where_that_is_wanted() {
    let broker = start(Broker::builder().anonymous_user("visitor")).await;
    let mut wire = anonymous().open_channel(&broker).await;
    // The user-id of a message must be that of the connection.
    let properties = |user: &str| Properties {
        user_id: Some(user.to_owned()),
        ..Properties::default()
    };
    wire.publish_with("", "q", &properties("visitor"), b"x")
        .await;
    wire.quiet().await;
    wire.publish_with("", "q", &properties("guest"), b"x").await;
    assert_eq!(wire.expect_channel_closed().await.code, 406);
}

#[tokio::test]
async fn they_are_not_let_in_unless_it_is() {
    let broker = broker().await;
    let mut wire = anonymous().authenticate(&broker).await;
    wire.expect_end().await;
}
