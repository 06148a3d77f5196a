//! Microsoft's own clients, msal and azure-identity as `PyPI` has them, get their tokens from the
//! issuer of `airside dev` and call Airflow with them.

use std::path::Path;
use std::process::Command;
use std::sync::MutexGuard;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::flight::alone;
use crate::programs::{beside_the_tests, command, program, said};
use crate::stock::{Airflow, Recipe};
use crate::support::airside::Airside;
use crate::support::config::SECRET;
use crate::support::wait::eventually;

/// The applications of the issuer's directory that hold the role, or none.
const ADMIN: &str = "00001111-aaaa-2222-bbbb-333344440001";
const OP: &str = "00001111-aaaa-2222-bbbb-333344440002";
const VIEWER: &str = "00001111-aaaa-2222-bbbb-333344440004";
const STRANGER: &str = "00001111-aaaa-2222-bbbb-333344440005";

/// `airside dev` in front of the stock Airflow.
struct Dev {
    airside: Airside,
    home: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Dev {
    fn start() -> Self {
        let alone = alone();
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name).display().to_string();
        std::fs::write(file("secret"), SECRET).unwrap();
        let any = "127.0.0.1:0";
        let args = [
            &[
                "dev",
                "--upstream",
                &Airflow::of(&Recipe::usual()).url(),
                "--airflow-jwt-secret-file",
                &file("secret"),
            ],
            &["--listen", any, "--issuer-listen", any, "--issuer-tls-listen", any][..],
            &["--state", &file("state")],
        ];
        let airside = Airside::launch(&args.concat(), &[]);
        eventually("the state is published", || Path::new(&file("state")).exists().then_some(()));
        airside.wait_until_ready();
        Self { airside, home, _alone: alone }
    }

    /// What tests/airflow/microsoft.py sees as this application, by flow.
    fn seen(&self, client: &str, flows: &[&str]) -> Value {
        let python = program("clients", "python");
        said_by(self.guarded(&python).args(self.microsoft(client, flows)))
    }

    /// The same with the variables that `dev` hands out, after `switch`, a line of shell.
    fn seen_with_variables(&self, switch: &str, flows: &[&str]) -> Value {
        let script = format!(". \"$0\"; {switch} exec \"$@\"");
        let mut shell = self.guarded(Path::new("/bin/sh"));
        shell.args(["-c", &script, &self.file(".env")]).arg(program("clients", "python"));
        said_by(shell.args(self.microsoft(OP, flows)))
    }

    fn microsoft(&self, client: &str, flows: &[&str]) -> Vec<String> {
        let script = beside_the_tests("microsoft.py").display().to_string();
        let mut words = vec![script, self.file(""), client.to_owned()];
        words.extend(flows.iter().map(|&flow| flow.to_owned()));
        words
    }

    /// A command that reaches this machine alone: a client that asked a host of Microsoft's would
    /// fail, because nobody listens where its proxy should be.
    fn guarded(&self, program: &Path) -> Command {
        let mut command = command(program, self.home.path());
        for variable in ["HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(variable, "http://127.0.0.1:9");
        }
        command.env("NO_PROXY", "127.0.0.1,localhost");
        command
    }

    /// A file that `dev` has put beside its state file.
    fn file(&self, ending: &str) -> String {
        self.home.path().join(format!("state{ending}")).display().to_string()
    }
}

fn said_by(command: &mut Command) -> Value {
    serde_json::from_str(&said(&command.output().unwrap())).unwrap()
}

/// What is seen by an application that Airflow lets in: what proved it (`azpacr`), its role, and
/// the status of an attempt to write a variable, which needs Op.
fn let_in(client: &str, proof: &str, role: &str, writing: u16) -> Value {
    json!({
        "client": client, "proof": proof, "airflow_knows_them_by_oid": true, "roles": [role],
        "writing": writing,
    })
}

#[test]
fn applications_sign_in_with_a_secret_a_certificate_or_a_token_of_others() {
    let dev = Dev::start();
    let flows = [
        ("msal_secret", "1"),
        ("msal_thumbprint", "2"),
        ("msal_certificate", "2"),
        ("msal_assertion", "2"),
        ("azure_secret", "1"),
        ("azure_certificate", "2"),
        ("azure_workload", "2"),
    ];
    let seen = dev.seen(OP, &flows.map(|(flow, _)| flow));
    for (flow, proof) in flows {
        assert_eq!(seen[flow], let_in(OP, proof, "Op", 201), "{flow}");
    }
}

#[test]
fn each_application_has_the_role_that_the_directory_gave_it() {
    let dev = Dev::start();
    for (client, expected) in [
        (ADMIN, let_in(ADMIN, "1", "Admin", 201)),
        (VIEWER, let_in(VIEWER, "1", "Viewer", 403)),
        (STRANGER, json!({"status": 403, "reason": "role_missing"})),
    ] {
        assert_eq!(dev.seen(client, &["msal_secret"])["msal_secret"], expected);
    }
}

#[test]
fn unchanged_programs_sign_in_by_their_environment_alone() {
    let dev = Dev::start();
    let instead = |variable: &str, ending: &str| {
        format!("unset AZURE_CLIENT_SECRET; export {variable}='{}';", dev.file(ending))
    };
    for (switch, flows, proof) in [
        (String::new(), ["azure_environment", "azure_default"], "1"),
        (
            instead("AZURE_CLIENT_CERTIFICATE_PATH", ".client.pem"),
            ["azure_environment", "azure_default"],
            "2",
        ),
        (
            instead("AZURE_FEDERATED_TOKEN_FILE", ".federated-token"),
            ["azure_from_file", "azure_default"],
            "2",
        ),
    ] {
        let seen = dev.seen_with_variables(&switch, &flows);
        for flow in flows {
            assert_eq!(seen[flow], let_in(OP, proof, "Op", 201), "{flow} after {switch:?}");
        }
    }
}

#[test]
fn managed_identities_get_their_tokens_from_the_metadata_service() {
    let dev = Dev::start();
    let flows = [
        ("azure_machine", "Microsoft.Compute/virtualMachines/airside-dev"),
        ("msal_machine", "Microsoft.Compute/virtualMachines/airside-dev"),
        ("azure_assigned", OP),
    ];
    let mut seen = dev.seen_with_variables("", &flows.map(|(flow, _)| flow));
    for (flow, resource) in flows {
        let identity = seen[flow].as_object_mut().unwrap().remove("xms_mirid");
        let identity = identity.expect("only a managed identity has one");
        assert!(identity.as_str().unwrap().ends_with(resource), "{flow}: {identity}");
        assert_eq!(seen[flow], let_in(OP, "2", "Op", 201), "{flow}");
    }
}

#[test]
fn people_sign_in_by_authorization_code_and_pkce() {
    let dev = Dev::start();
    let flows = ["msal_person", "msal_interactive", "msal_another_person", "msal_stranger"];
    let seen = dev.seen(OP, &[&flows[..], &["msal_id_token"]].concat());
    let person = |name: &str, role: &str, writing: u16| {
        let mut expected = let_in("22223333-cccc-4444-dddd-5555eeee6666", "0", role, writing);
        expected["scp"] = json!("access_as_user");
        expected["preferred_username"] = json!(format!("{name}@contoso.example"));
        expected
    };
    assert_eq!(seen["msal_person"], person("alice", "Admin", 201));
    assert_eq!(seen["msal_interactive"], person("alice", "Admin", 201));
    assert_eq!(seen["msal_another_person"], person("victor", "Viewer", 403));
    assert_eq!(seen["msal_stranger"], json!({"status": 403, "reason": "role_missing"}));
    assert_eq!(seen["msal_id_token"], json!({"status": 401, "reason": "token_kind"}));
}

#[test]
fn clients_say_what_is_held_against_them_as_they_do_with_entra() {
    let dev = Dev::start();
    let flows = [
        ("msal_wrong_secret", "invalid_client", "AADSTS7000215"),
        ("msal_wrong_scope", "invalid_scope", "AADSTS1002012"),
        ("msal_wrong_resource", "invalid_resource", "AADSTS500011"),
        ("msal_wrong_assertion", "invalid_client", "AADSTS700027"),
        ("msal_wrong_verifier", "invalid_grant", "AADSTS501481"),
        ("azure_wrong_secret", "ClientAuthenticationError", "AADSTS7000215"),
    ];
    let seen = dev.seen(OP, &flows.map(|(flow, ..)| flow));
    for (flow, error, number) in flows {
        let refused = &seen[flow]["refused"];
        assert_eq!(refused["error"], error, "{flow}: {seen}");
        assert!(refused["error_description"].as_str().unwrap().contains(number), "{flow}: {seen}");
    }
}

#[test]
fn the_certificate_holds_by_the_strictest_rules_and_names_lead_back_to_themselves() {
    let seen = Dev::start().seen(OP, &["strict"]);
    assert_eq!(seen["strict"], json!({"127.0.0.1": true, "localhost": true}));
}

#[test]
fn the_printed_command_with_azure_identity_answers_as_printed() {
    let dev = Dev::start();
    let printed = dev.airside.line_with(&["azure.identity"]);
    let python = program("clients", "python3");
    let path = format!("{}:/usr/bin:/bin", python.parent().unwrap().display());
    let ran = dev.guarded(Path::new("/bin/sh")).env("PATH", path).args(["-c", &printed]).output();
    let answer = said(&ran.unwrap());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{printed}\n{answer}");
    assert!(answer.contains(r#""dag_id":"demo""#), "{answer}");
}
