//! SES.

use real_shared::aws::{AwsError, Mail};

use super::Clients;

impl Clients {
    /// Sends a mail.
    pub async fn send_mail(&self, _mail: &Mail) -> Result<String, AwsError> {
        self.world
            .request("SendEmail", String::new, |state| {
                state.mails += 1;
                Ok(state.mails.to_string())
            })
            .await
    }

    /// Whether an identity is verified: all are.
    pub async fn identity_is_verified(&self, identity: &str) -> Result<Option<bool>, AwsError> {
        self.world
            .request(
                "GetEmailIdentity",
                || identity.to_owned(),
                |_| Ok(Some(true)),
            )
            .await
    }

    /// Requests the verification of an address.
    pub async fn request_verification(&self, address: &str) -> Result<(), AwsError> {
        self.world
            .request("CreateEmailIdentity", || address.to_owned(), |_| Ok(()))
            .await
    }

    /// Whether SES mails to verified addresses only: it does not.
    pub async fn mail_is_sandboxed(&self) -> Result<bool, AwsError> {
        self.world
            .request("GetAccount", String::new, |_| Ok(false))
            .await
    }
}
