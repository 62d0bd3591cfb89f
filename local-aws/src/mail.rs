//! E-mails the embedded SES has "sent": it keeps them.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{LocalAws, http_client};

/// One e-mail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mail {
    /// Sender.
    #[serde(rename = "Source")]
    pub from: String,
    /// Recipients.
    #[serde(rename = "To", default)]
    pub to: Vec<String>,
    /// Subject.
    #[serde(rename = "Subject", default)]
    pub subject: String,
    /// Text part.
    #[serde(rename = "BodyText", default, deserialize_with = "null_is_empty")]
    pub text: String,
    /// HTML part; empty when there is none.
    #[serde(rename = "BodyHtml", default, deserialize_with = "null_is_empty")]
    pub html: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Messages {
    messages: std::collections::BTreeMap<String, Vec<Mail>>,
}

impl LocalAws {
    /// All e-mails an account has sent, oldest first.
    pub async fn mails(&self, account_id: &str) -> Result<Vec<Mail>> {
        let url = format!(
            "{}/_ministack/ses/messages?account={account_id}",
            self.endpoint_url
        );
        let mut found: Messages = http_client::get(&url)
            .await?
            .context("the embedded SES is not there")?;
        Ok(found.messages.remove(account_id).unwrap_or_default())
    }

    /// Verifies addresses, so that an account may send from (and to) them.
    pub async fn verify_email_addresses(
        &self,
        account_id: &str,
        addresses: &[String],
    ) -> Result<()> {
        let ses = aws_sdk_sesv2::Client::new(&self.sdk_config(account_id, &self.region));
        for address in addresses {
            let made = ses
                .create_email_identity()
                .email_identity(address)
                .send()
                .await;
            if let Err(error) = made {
                let error = error.into_service_error();
                if !error.is_already_exists_exception() {
                    return Err(error).with_context(|| format!("verifying {address}"));
                }
            }
        }
        Ok(())
    }
}
