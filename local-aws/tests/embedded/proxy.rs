//! Everything that is no inventory request passes through unchanged.

use aws_sdk_s3::{
    primitives::{ByteStream, SdkBody},
    types::{CompletedMultipartUpload, CompletedPart},
};

use crate::support::*;

#[tokio::test]
async fn bodies_of_every_kind_arrive_whole() {
    let client = s3(MEMBER).await;
    make_bucket(&client, "passed").await;
    let large: Vec<u8> = (0..9_000_000_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::write(&path, &large).unwrap();
    // A file is sent in signed chunks with a trailing checksum (aws-chunked).
    let body = ByteStream::from_path(&path).await.unwrap();
    client
        .put_object()
        .bucket("passed")
        .key("a+b c/ü%.bin")
        .body(body)
        .send()
        .await
        .unwrap();
    let got = client
        .get_object()
        .bucket("passed")
        .key("a+b c/ü%.bin")
        .send()
        .await
        .unwrap();
    assert_eq!(got.content_length(), Some(9_000_000));
    assert!(got.body.collect().await.unwrap().to_vec() == large);
    let head = client
        .head_object()
        .bucket("passed")
        .key("a+b c/ü%.bin")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(9_000_000));
    let range = client
        .get_object()
        .bucket("passed")
        .key("a+b c/ü%.bin")
        .range("bytes=10-19")
        .send()
        .await
        .unwrap();
    assert_eq!(range.body.collect().await.unwrap().to_vec(), large[10..20]);

    let upload = client
        .create_multipart_upload()
        .bucket("passed")
        .key("parts")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(large.chunks(5_242_880)) {
        let body = ByteStream::new(SdkBody::from(part.to_vec()));
        let sent = client
            .upload_part()
            .bucket("passed")
            .key("parts")
            .upload_id(id)
            .part_number(number)
            .body(body);
        let e_tag = sent.send().await.unwrap().e_tag;
        parts = parts.parts(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(e_tag)
                .build(),
        );
    }
    let complete = client
        .complete_multipart_upload()
        .bucket("passed")
        .key("parts")
        .upload_id(id);
    complete
        .multipart_upload(parts.build())
        .send()
        .await
        .unwrap();
    let got = client
        .get_object()
        .bucket("passed")
        .key("parts")
        .send()
        .await
        .unwrap();
    assert!(got.body.collect().await.unwrap().to_vec() == large);
}

#[tokio::test]
async fn errors_of_s3_arrive_as_they_are() {
    use aws_sdk_s3::error::ProvideErrorMetadata as _;
    let client = s3(MEMBER).await;
    let absent = client
        .get_object()
        .bucket("passed-absent")
        .key("x")
        .send()
        .await
        .unwrap_err();
    assert_eq!(absent.code(), Some("NoSuchBucket"));
}
