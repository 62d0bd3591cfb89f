//! Messages come back sooner where that is asked for, and nowhere else.

use aws_sdk_sqs::{Client, types::QueueAttributeName};

use crate::support::*;

#[tokio::test]
async fn messages_with_a_text_come_back_sooner_and_others_do_not() {
    let aws = shared().await;
    let client = Client::new(&aws.sdk_config(MEMBER, REGION));
    let queue = client
        .create_queue()
        .queue_name("redelivery")
        .attributes(QueueAttributeName::VisibilityTimeout, "3600")
        .send()
        .await
        .unwrap();
    let url = queue.queue_url().unwrap();
    for body in ["hurried", "patient"] {
        let message = client.send_message().queue_url(url).message_body(body);
        message.send().await.unwrap();
    }
    let receive = async || {
        let received = client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(20)
            .send()
            .await
            .unwrap();
        let messages = received.messages().iter().map(|message| {
            let body = message.body().unwrap().to_owned();
            (body, message.receipt_handle().unwrap().to_owned())
        });
        messages.collect::<Vec<_>>()
    };

    aws.set_redelivery_scale("hurried", 0.0001).await.unwrap();
    let both = receive().await;
    assert_eq!(both.len(), 2);
    // By the queue's own timeout, which is an hour.
    let [(body, receipt)] = receive().await.try_into().unwrap();
    assert_eq!(body, "hurried");
    // By one that its receiver sets.
    let change = client.change_message_visibility().queue_url(url);
    let change = change.receipt_handle(receipt).visibility_timeout(7_200);
    change.send().await.unwrap();
    let [(body, receipt)] = receive().await.try_into().unwrap();
    assert_eq!(body, "hurried");

    aws.set_redelivery_scale("hurried", 1.0).await.unwrap();
    let change = client.change_message_visibility().queue_url(url);
    let change = change.receipt_handle(receipt).visibility_timeout(3_600);
    change.send().await.unwrap();
    let received = client.receive_message().queue_url(url).wait_time_seconds(1);
    assert!(received.send().await.unwrap().messages().is_empty());
}
