//! Mail through SES.

use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};

use super::{AwsError, Class, Clients};

/// A message with a text part and an HTML part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Sender, a verified identity.
    pub from: String,
    /// 1 to 50 recipients.
    pub to: Vec<String>,
    /// Subject.
    pub subject: String,
    /// Text part.
    pub text: String,
    /// HTML part.
    pub html: String,
}

impl Clients {
    /// Hands a message to SES. Success means accepted, not delivered. Gives SES's message id.
    pub async fn send_mail(&self, mail: &Mail) -> Result<String, AwsError> {
        let part = |text: &str| {
            Content::builder()
                .data(text)
                .charset("UTF-8")
                .build()
                .expect("the data is set")
        };
        let message = Message::builder()
            .subject(part(&mail.subject))
            .body(
                Body::builder()
                    .text(part(&mail.text))
                    .html(part(&mail.html))
                    .build(),
            )
            .build();
        let answer = self
            .ses
            .send_email()
            .from_email_address(&mail.from)
            .destination(
                Destination::builder()
                    .set_to_addresses(Some(mail.to.clone()))
                    .build(),
            )
            .content(EmailContent::builder().simple(message).build())
            .send()
            .await
            .map_err(|error| AwsError::new(format!("SendEmail from {}", mail.from), &error))?;
        Ok(answer.message_id().unwrap_or_default().to_owned())
    }

    /// Whether SES may send for an identity (an address or a domain); `None` when it has never
    /// heard of it.
    pub async fn identity_is_verified(&self, identity: &str) -> Result<Option<bool>, AwsError> {
        let answer = self
            .ses
            .get_email_identity()
            .email_identity(identity)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer.verified_for_sending_status())),
            Err(error) => {
                let error = AwsError::new(format!("GetEmailIdentity of {identity}"), &error);
                if error.is_missing() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Has SES send a verification mail to an address.
    pub async fn request_verification(&self, address: &str) -> Result<(), AwsError> {
        match self
            .ses
            .create_email_identity()
            .email_identity(address)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("CreateEmailIdentity of {address}"), &error);
                if error.class == Class::Exists {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Whether SES sends to verified recipients only (its sandbox).
    pub async fn mail_is_sandboxed(&self) -> Result<bool, AwsError> {
        let answer = self
            .ses
            .get_account()
            .send()
            .await
            .map_err(|error| AwsError::new("GetAccount", &error))?;
        Ok(!answer.production_access_enabled())
    }
}
