//! What `dev` prints: what runs where, and commands to paste.

use std::fmt;
use std::path::Path;

use super::mint::{API_CLIENT_ID, TENANT_ID};
use crate::shell::quoted;

/// The facts that the text is made of.
pub struct Banner<'a> {
    /// Base URL of the proxy.
    pub proxy: &'a str,
    /// Base URL of the issuer.
    pub issuer: &'a str,
    /// Base URL of the admin listener, where the status page is.
    pub status: &'a str,
    /// The issuer over TLS.
    pub issuer_tls: &'a str,
    /// The authority to trust for that.
    pub ca_file: &'a Path,
    /// The variables with which Microsoft's clients find the issuer.
    pub environment_file: &'a Path,
    /// The configuration of this run.
    pub config_file: &'a Path,
    /// What requests go to, and where.
    pub upstream: &'a str,
    /// This executable.
    pub program: &'a Path,
    /// The state file.
    pub state: &'a Path,
    /// Whether `airside token` must be told where that is.
    pub state_is_default: bool,
    /// A value of `roles` that makes an Admin, if the role map has one.
    pub admin: Option<&'a str>,
    /// The same for a Viewer.
    pub viewer: Option<&'a str>,
    /// Whether some value makes an Op.
    pub op: bool,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, status, issuer, issuer_tls, upstream, state, .. } = self;
        writeln!(f, "airside dev: for this machine only; keys and secrets last for this run\n")?;
        writeln!(f, "  proxy     {proxy}")?;
        writeln!(f, "  status    {status}/  keys, traffic and refusals, for a browser")?;
        writeln!(
            f,
            "  issuer    {issuer}  imitates Entra: tenant {TENANT_ID}, API {API_CLIENT_ID}"
        )?;
        let ca_file = self.ca_file.display();
        writeln!(f, "            {issuer_tls}  the same over TLS; trust {ca_file}")?;
        writeln!(f, "  upstream  {upstream}")?;
        writeln!(f, "  state     {}  for `airside token`\n", state.display())?;
        writeln!(f, "Paste into another terminal:")?;
        if let Some(role) = self.admin {
            let token = self.token(&format!("--role {} --user alice", quoted(role)));
            writeln!(f, "\n  # an admin: 200\n  curl -i {token} {proxy}/api/v2/dags")?;
        }
        if let Some(role) = self.viewer {
            let token = self.token(&format!("--role {} --user victor", quoted(role)));
            writeln!(
                f,
                "\n  # a viewer may read, but not write: 403 from Airflow\n  curl -i {token} \
                 -H 'Content-Type: application/json' -d '{VARIABLE}' {proxy}/api/v2/variables"
            )?;
        }
        let token = self.token("--user mallory");
        writeln!(
            f,
            "\n  # a stranger, with a good token but no role: 403 role_missing\n  curl -i {token} \
             {proxy}/api/v2/dags"
        )?;
        let (token, explain) = (self.mint("--user mallory"), self.explain());
        writeln!(f, "\n  # why, check by check, and what to change\n  {token} | {explain}")?;
        if self.op {
            writeln!(
                f,
                "\n  # an application that holds Op, by Microsoft's azure-identity: 200\n  {}",
                self.by_azure_identity()
            )?;
        }
        writeln!(f, "\n  # nobody: 401\n  curl -i {proxy}/api/v2/dags")
    }
}

const VARIABLE: &str = r#"{"key": "greeting", "value": "hello"}"#;

impl Banner<'_> {
    /// The curl option that carries a fresh token.
    fn token(&self, options: &str) -> String {
        format!("-H \"Authorization: Bearer $({})\"", self.mint(options))
    }

    /// The command that prints a token.
    fn mint(&self, options: &str) -> String {
        let program = quoted(&self.program.to_string_lossy());
        let mut command = format!("{program} token {options}");
        if !self.state_is_default {
            command += " --state ";
            command += &quoted(&self.state.to_string_lossy());
        }
        command
    }

    /// The command that explains one.
    fn explain(&self) -> String {
        let program = quoted(&self.program.to_string_lossy());
        format!("{program} explain -c {}", quoted(&self.config_file.to_string_lossy()))
    }

    /// A subshell with the variables, in which a program gets its token as any on Azure does.
    fn by_azure_identity(&self) -> String {
        let environment = quoted(&self.environment_file.to_string_lossy());
        let program = format!(
            "from azure.identity import DefaultAzureCredential as Credential; \
             print(Credential().get_token(\"api://{API_CLIENT_ID}/.default\").token)"
        );
        format!(
            "(. {environment}; curl -i -H \"Authorization: Bearer $(python3 -c '{program}')\" \
             {}/api/v2/dags)",
            self.proxy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner<'a>() -> Banner<'a> {
        Banner {
            proxy: "http://127.0.0.1:8080",
            status: "http://127.0.0.1:9090",
            issuer: "http://127.0.0.1:8082",
            issuer_tls: "https://127.0.0.1:8443",
            ca_file: Path::new("/run/user/1000/airside-dev.json.ca.pem"),
            environment_file: Path::new("/run/user/1000/airside-dev.json.env"),
            config_file: Path::new("/run/user/1000/airside-dev.json.yaml"),
            upstream: "built-in sample",
            program: Path::new("/usr/bin/airside"),
            state: Path::new("/run/user/1000/airside-dev.json"),
            state_is_default: true,
            admin: Some("Admin"),
            viewer: Some("Viewer"),
            op: true,
        }
    }

    #[test]
    fn there_is_a_command_for_an_admin_a_viewer_a_stranger_an_application_and_nobody() {
        let text = banner().to_string();
        let commands: Vec<&str> = text.lines().filter(|line| line.contains("curl -i")).collect();
        assert_eq!(
            commands,
            [
                r#"  curl -i -H "Authorization: Bearer $(/usr/bin/airside token --role Admin --user alice)" http://127.0.0.1:8080/api/v2/dags"#,
                r#"  curl -i -H "Authorization: Bearer $(/usr/bin/airside token --role Viewer --user victor)" -H 'Content-Type: application/json' -d '{"key": "greeting", "value": "hello"}' http://127.0.0.1:8080/api/v2/variables"#,
                r#"  curl -i -H "Authorization: Bearer $(/usr/bin/airside token --user mallory)" http://127.0.0.1:8080/api/v2/dags"#,
                r#"  (. /run/user/1000/airside-dev.json.env; curl -i -H "Authorization: Bearer $(python3 -c 'from azure.identity import DefaultAzureCredential as Credential; print(Credential().get_token("api://11112222-bbbb-3333-cccc-4444dddd5555/.default").token)')" http://127.0.0.1:8080/api/v2/dags)"#,
                "  curl -i http://127.0.0.1:8080/api/v2/dags",
            ]
        );
    }

    #[test]
    fn there_is_a_command_that_explains_the_refusal() {
        let line = "  /usr/bin/airside token --user mallory | \
                    /usr/bin/airside explain -c /run/user/1000/airside-dev.json.yaml";
        assert!(banner().to_string().lines().any(|printed| printed == line));
    }

    #[test]
    fn the_status_page_is_named() {
        assert!(banner().to_string().contains("  http://127.0.0.1:9090/  "));
    }

    #[test]
    fn odd_paths_and_roles_survive_the_shell() {
        let banner = Banner {
            program: Path::new("/home/o'brien/my airside"),
            state: Path::new("/tmp/a b.json"),
            state_is_default: false,
            admin: Some("Airflow Admins"),
            viewer: None,
            op: false,
            ..banner()
        };
        let text = banner.to_string();
        assert!(text.contains(
            r"$('/home/o'\''brien/my airside' token --role 'Airflow Admins' --user alice --state '/tmp/a b.json')"
        ));
        assert!(!text.contains("victor"), "no role of the map makes a viewer");
        assert!(!text.contains("azure"), "nor an Op");
    }
}
