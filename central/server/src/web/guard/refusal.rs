//! Why somebody is not let in. Enters: reasons. Leaves: a way to sign in, a page in the reader's language, or a problem
//! (RFC 9457) for programs.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::super::lang::Lang;
use super::super::{api, refused};
use super::need::{self, SIGN_IN};
use crate::access::Scope;
use crate::store::StoreError;

/// Why somebody is not let in. The texts are for programs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Nobody knows who it is.
    #[error("who asks? Sign in at {SIGN_IN}, or send a token: Authorization: Bearer httok-…")]
    Unknown,
    /// A token is good for nothing.
    #[error("the token {0}")]
    Token(&'static str),
    /// It is not theirs.
    #[error("that needs the scope {0}")]
    Scope(Scope),
    /// It is the administrators'.
    #[error("that needs an administrator")]
    Administrator,
    /// The proxy knows them, central does not.
    #[error("the proxy says that you are {0:?}, and names no role that central knows")]
    NoRole(String),
    /// They went past the proxy.
    #[error("central is asked through its proxy, and this machine is not the proxy")]
    PastProxy,
    /// A page of another site may have made a browser ask.
    #[error(
        "central asks nobody who they are yet, and answers only under a name of this machine, like localhost: \
         add a user, or name the proxy under [web.proxy]"
    )]
    Host,
    /// A page of another site made a browser ask.
    #[error("a page of another site sent this")]
    Strange,
    /// Too often.
    #[error("too many requests: try again in {} s", seconds(*.0))]
    TooMany(Duration),
    /// Too much.
    #[error("a body has at most {0} bytes")]
    TooLarge(usize),
    /// Too slow.
    #[error("the body did not come within {} s", .0.as_secs())]
    Slow(Duration),
    /// Nobody can be known at the moment.
    #[error("who asks cannot be looked up at the moment; central's log says why")]
    Database(#[from] StoreError),
    /// This program has a mistake.
    #[error("the question was dropped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Seconds, of a part of one a whole one.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Scope(_)
            | Self::Administrator
            | Self::NoRole(_)
            | Self::PastProxy
            | Self::Host
            | Self::Strange => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer to who asked for that. `reads`: the question is one that a browser asks again after signing in.
    pub(super) fn answer(&self, uri: &Uri, reads: bool, lang: Lang) -> Response {
        let is_program = need::is_for_programs(uri.path());
        if let (Self::Unknown, false, true) = (self, is_program, reads) {
            let next = uri.path_and_query().map_or("/", |path| path.as_str());
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            return Redirect::to(&format!("{SIGN_IN}?{query}")).into_response();
        }
        let mut answer = if is_program || matches!(self, Self::Token(_)) {
            api::problem(self.status(), &self.to_string())
        } else {
            refused(self.status(), lang, &self.words(lang))
        };
        let headers = answer.headers_mut();
        let challenge = match self {
            Self::Unknown => Some("Bearer realm=\"hangtag\"".to_owned()),
            Self::Token(_) => Some("Bearer realm=\"hangtag\", error=\"invalid_token\"".to_owned()),
            Self::Scope(scope) => {
                Some(format!("Bearer realm=\"hangtag\", error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            Self::Administrator
            | Self::NoRole(_)
            | Self::PastProxy
            | Self::Host
            | Self::Strange
            | Self::TooMany(_)
            | Self::TooLarge(_)
            | Self::Slow(_)
            | Self::Database(_)
            | Self::Task(_) => None,
        };
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Self::TooMany(wait) = self {
            headers.insert(header::RETRY_AFTER, seconds(*wait).into());
        }
        answer
    }

    /// The same for people.
    fn words(&self, lang: Lang) -> String {
        match self {
            Self::Scope(_) | Self::Administrator => lang.text("refused-role"),
            Self::NoRole(name) => lang.format("refused-no-role", &[("name", name.into())]),
            Self::TooMany(wait) => lang.format("refused-often", &[("seconds", seconds(*wait).into())]),
            Self::PastProxy => lang.text("refused-proxy"),
            Self::Host => lang.text("refused-host"),
            Self::Strange => lang.text("sign-in-form"),
            Self::Database(_) => lang.text("refused-database"),
            Self::Unknown | Self::Token(_) | Self::TooLarge(_) | Self::Slow(_) | Self::Task(_) => {
                self.to_string()
            }
        }
    }
}
