//! `airside dev` and `airside token`: a whole deployment on loopback, with an issuer that
//! imitates Entra. Compiled in by the cargo feature `dev`; the image is built without it.
//!
//! | file | what |
//! | --- | --- |
//! | [`issuer`] | the embedded issuer: Entra's URLs over keys made for this run |
//! | `grant` | its token endpoints: client credentials, and the code of a person who signed in |
//! | [`assertion`] | how an application proves who it is: a secret, a certificate, a token of others |
//! | `signin` | its authorization endpoint: a person signs in, the application gets a code |
//! | `managed_identity` | the metadata service of a virtual machine |
//! | [`directory`] | who there is, with which roles |
//! | `form`, `refusal` | what these endpoints are sent, and how they say no |
//! | [`certificate`] | the certificates of one run: for TLS, and for applications |
//! | [`handout`] | the private files with which Microsoft's clients find and trust the issuer |
//! | [`mint`] | what a token says: claim sets of v1.0 and v2.0, users and applications |
//! | `key` | a signing key and its public half as Entra publishes it |
//! | [`sample`] | the upstream that stands in for Airflow |
//! | [`child`] | the upstream that `dev` starts: `-- airflow standalone` |
//! | [`serve`](mod@serve) | HTTP for the two above that answer by themselves |
//! | [`state`] | the private file through which `token` finds `dev` |
//! | [`client`] | how `token` asks for a token |
//! | [`banner`] | what `dev` prints |

pub mod assertion;
pub mod banner;
pub mod certificate;
pub mod child;
pub mod client;
pub mod directory;
mod form;
mod grant;
pub mod handout;
pub mod issuer;
mod key;
mod managed_identity;
pub mod mint;
mod refusal;
pub mod sample;
pub mod serve;
mod signin;
pub mod state;
