//! What others need to use this run, in private files beside the state file: for Microsoft's clients
//! whom to trust, what to sign in with, and variables for a shell that say so; for `airside explain`
//! the configuration.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::USUAL_APPLICATION;
use super::issuer::BELIEVED_PATH;
use super::mint::TENANT_ID;
use super::state::{PrivateFile, State};
use crate::shell::quoted;

/// Where the files are.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The authority that vouches for the issuer's TLS, PEM.
    pub ca_file: PathBuf,
    /// The certificate that every application has registered, with its key, PEM.
    pub client_certificate_file: PathBuf,
    /// A token of the issuer outside that every application trusts, as Kubernetes projects one.
    pub federated_token_file: PathBuf,
    /// Variables for a POSIX shell, to be sourced.
    pub environment_file: PathBuf,
    /// The configuration by which this run judges tokens, YAML; it names secrets by their files.
    pub config_file: PathBuf,
}

/// What stands in them.
pub struct Content<'a> {
    /// The authority, PEM.
    pub ca: &'a str,
    /// Key and certificate, PEM.
    pub client_certificate: &'a str,
    /// The token.
    pub federated_token: &'a str,
    /// The configuration, YAML.
    pub config: &'a str,
}

impl Files {
    /// Their names, each the state file's with an ending.
    pub fn beside(state: &Path) -> Self {
        let named = |ending: &str| {
            let mut name = state.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            ca_file: named(".ca.pem"),
            client_certificate_file: named(".client.pem"),
            federated_token_file: named(".federated-token"),
            environment_file: named(".env"),
            config_file: named(".yaml"),
        }
    }
}

/// Writes the files that `state` names. They stand for as long as the returned values live.
pub fn write(state: &State, content: &Content<'_>) -> io::Result<Vec<PrivateFile>> {
    let Files {
        ca_file,
        client_certificate_file,
        federated_token_file,
        environment_file,
        config_file,
    } = &state.files;
    [
        (ca_file, content.ca),
        (client_certificate_file, content.client_certificate),
        (federated_token_file, content.federated_token),
        (environment_file, &environment(state)),
        (config_file, content.config),
    ]
    .into_iter()
    .map(|(path, content)| {
        let about =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        PrivateFile::create(path, content.as_bytes()).map_err(about)
    })
    .collect()
}

/// What azure-identity, and for the last variable everything that uses requests, reads from the
/// environment; further ways to sign in are there to be switched to.
fn environment(state: &State) -> String {
    let line =
        |name: &str, value: &dyn Display| format!("export {name}={}\n", quoted(&value.to_string()));
    let files = &state.files;
    let host = format!("{}{BELIEVED_PATH}", state.issuer_tls);
    let metadata = format!("{}/{}", state.issuer, state.mint_secret);
    let certificate =
        line("AZURE_CLIENT_CERTIFICATE_PATH", &files.client_certificate_file.display());
    let token = line("AZURE_FEDERATED_TOKEN_FILE", &files.federated_token_file.display());
    [
        "# Made by `airside dev`, for this run: `. FILE` lets programs with Microsoft's clients\n\
         # sign in at its issuer, and trust nobody else over TLS.\n"
            .to_owned(),
        line("AZURE_AUTHORITY_HOST", &host),
        line("AZURE_TENANT_ID", &TENANT_ID),
        "# The application that holds Op; those with …0001 to …0005 at the end hold Admin, Op,\n\
         # User, Viewer and no role.\n"
            .to_owned(),
        line("AZURE_CLIENT_ID", &USUAL_APPLICATION),
        line("AZURE_CLIENT_SECRET", &state.mint_secret),
        line("AZURE_POD_IDENTITY_AUTHORITY_HOST", &metadata),
        line("REQUESTS_CA_BUNDLE", &files.ca_file.display()),
        "# In place of the secret, a certificate:\n".to_owned(),
        format!("# unset AZURE_CLIENT_SECRET; {certificate}"),
        "# or workload identity:\n".to_owned(),
        format!("# unset AZURE_CLIENT_SECRET; {token}"),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_files_are_private_and_any_shell_can_read_the_variables() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::beside(&folder.path().join("it's state.json"));
        let state = State {
            issuer: "http://127.0.0.1:8082".to_owned(),
            issuer_tls: "https://127.0.0.1:8443".to_owned(),
            mint_secret: "s3cret".to_owned(),
            files: files.clone(),
            ..State::default()
        };
        let content = Content {
            ca: "ca",
            client_certificate: "pem",
            federated_token: "token",
            config: "issuers: []",
        };
        let written = write(&state, &content).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let script = ". \"$0\"; echo $AZURE_AUTHORITY_HOST $AZURE_POD_IDENTITY_AUTHORITY_HOST; \
                      cat \"$REQUESTS_CA_BUNDLE\"";
        let said = Command::new("sh").args(["-c", script]).arg(&files.environment_file).output();
        let expected = "https://127.0.0.1:8443/dstsv2 http://127.0.0.1:8082/s3cret\nca";
        assert_eq!(String::from_utf8(said.unwrap().stdout).unwrap(), expected);
        drop(written);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
