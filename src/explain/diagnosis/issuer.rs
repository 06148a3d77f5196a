//! Tokens that no entry claims.

use super::{Facts, is_guid, key_of, kind, shown};
use crate::explain::cause::{Cause, Issued};
use crate::token::entra::{self, Cloud, Version};
use crate::token::{Issuer, Rules};

/// Whose token it is instead.
pub(super) fn unknown(facts: &Facts<'_>) -> Cause {
    if let Some(cause) = kind::of_a_task(facts) {
        return cause;
    }
    let Some(iss) = facts.text("iss") else { return nameless(facts) };
    if let Some(cause) = foreign(iss) {
        return cause;
    }
    let entras =
        facts.issuers.iter().enumerate().filter_map(|(index, issuer)| match &issuer.rules {
            Rules::Entra(rules) => Some((index, rules)),
            Rules::Airflow(_) | Rules::Oidc(_) => None,
        });
    let entras: Vec<_> = entras.collect();
    entras
        .iter()
        .find_map(|(index, rules)| version(*index, rules, iss))
        .or_else(|| facts.issuers.iter().find_map(|issuer| spelling(issuer, iss)))
        .or_else(|| {
            let first = entras.first();
            first.and_then(|(index, rules)| of_microsoft(*index, rules, iss))
        })
        .or_else(|| airflows(facts, iss))
        .unwrap_or_else(|| Cause::Issued(Issued::IssuerForeign { iss: shown(iss) }))
}

fn nameless(facts: &Facts<'_>) -> Cause {
    let configured = facts.issuers.iter().any(|issuer| matches!(issuer.rules, Rules::Airflow(_)));
    let hmac = facts.algorithm().starts_with("HS");
    let airflows = hmac || facts.text("aud") == Some("apache-airflow");
    match (airflows, configured) {
        (true, false) => Cause::Issued(Issued::AirflowNotConfigured),
        (true, true) => {
            airflows_cause(facts, "absent").unwrap_or(Cause::Issued(Issued::IssuerAbsent))
        }
        (false, _) => Cause::Issued(Issued::IssuerAbsent),
    }
}

fn airflows(facts: &Facts<'_>, iss: &str) -> Option<Cause> {
    let theirs = facts.algorithm().starts_with("HS") || facts.text("aud") == Some("apache-airflow");
    theirs.then(|| airflows_cause(facts, &format!("{:?}", shown(iss)))).flatten()
}

fn airflows_cause(facts: &Facts<'_>, found: &str) -> Option<Cause> {
    let entry = facts.issuers.iter().enumerate().find_map(|(index, issuer)| match &issuer.rules {
        Rules::Airflow(rules) => Some((index, rules)),
        Rules::Entra(_) | Rules::Oidc(_) => None,
    });
    entry.map(|(index, rules)| {
        Cause::Issued(Issued::AirflowIssuerDiffers {
            found: found.to_owned(),
            expected: rules.issuer.clone(),
            entry: key_of(index),
        })
    })
}

/// Tokens that workloads hold and send in place of what they are exchanged for.
fn foreign(iss: &str) -> Option<Cause> {
    if iss == "https://token.actions.githubusercontent.com" {
        return Some(Cause::Issued(Issued::RawGithub));
    }
    let clusters = [
        "kubernetes",
        "oidc.prod-aks.azure.com",
        "oic.prod-aks.azure.com",
        "oidc.eks.",
        "container.googleapis.com",
    ];
    if clusters.iter().any(|part| iss.contains(part)) {
        return Some(Cause::Issued(Issued::RawKubernetes { iss: shown(iss) }));
    }
    let others = [
        ("https://accounts.google.com", "Google"),
        ("https://gitlab.com", "GitLab"),
        ("https://cognito-idp.", "Amazon Cognito"),
        ("https://vstoken.dev.azure.com", "Azure DevOps"),
    ];
    others
        .into_iter()
        .find(|(start, _)| iss.starts_with(start))
        .map(|(_, issuer)| Cause::Issued(Issued::RawOther { issuer }))
}

/// A token of the right tenant, of a version that the entry leaves out.
fn version(index: usize, rules: &entra::Rules, iss: &str) -> Option<Cause> {
    let all = [(Version::V1, "v1"), (Version::V2, "v2")];
    let (_, found) = all.into_iter().find(|(version, _)| {
        let is = |tenant: &entra::Tenant| version.issuer(rules.cloud, &tenant.id) == iss;
        !rules.versions.contains(version) && rules.tenants.iter().any(is)
    })?;
    Some(Cause::Issued(Issued::VersionNotAccepted { found, entry: key_of(index) }))
}

/// The same issuer in other letters.
fn spelling(issuer: &Issuer, iss: &str) -> Option<Cause> {
    let plain = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let bare = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
        bare.unwrap_or(&lower).trim_end_matches('/').to_owned()
    };
    let expected: Vec<String> = match &issuer.rules {
        Rules::Entra(rules) => rules.issuers().map(|(iss, _)| iss).collect(),
        Rules::Airflow(rules) => rules.issuer.iter().cloned().collect(),
        Rules::Oidc(rules) => vec![rules.issuer.clone()],
    };
    let expected = expected.into_iter().find(|expected| plain(expected) == plain(iss))?;
    Some(Cause::Issued(Issued::IssuerSpelling { found: shown(iss), expected }))
}

fn of_microsoft(index: usize, rules: &entra::Rules, iss: &str) -> Option<Cause> {
    if iss.contains("ciamlogin.com") || iss.contains("b2clogin.com") {
        return Some(Cause::Issued(Issued::ExternalId { iss: shown(iss) }));
    }
    let rest = iss.strip_prefix("https://")?;
    let mut steps = rest.split('/');
    let (host, tenant) = (steps.next()?, steps.next()?);
    let cloud = HOSTS.iter().find(|(known, _)| *known == host).map(|(_, cloud)| *cloud)?;
    if tenant == CONSUMERS {
        return Some(Cause::Issued(Issued::PersonalAccount));
    }
    if !is_guid(tenant) {
        return Some(Cause::Issued(Issued::IssuerTemplate { iss: shown(iss) }));
    }
    let entry = key_of(index);
    let same = cloud.is_none_or(|cloud| cloud == rules.cloud);
    if !same {
        return Some(Cause::Issued(Issued::OtherCloud { found: cloud.map_or("", name_of), entry }));
    }
    let accepted: Vec<&str> = rules.tenants.iter().map(|tenant| tenant.id.as_ref()).collect();
    if accepted.contains(&tenant) {
        return Some(Cause::Issued(Issued::IssuerForeign { iss: shown(iss) }));
    }
    Some(Cause::Issued(Issued::OtherTenant {
        found: tenant.to_owned(),
        accepted: accepted.join(", "),
        entry,
    }))
}

/// The tenant of personal accounts (learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Who issues for which cloud; two of them have the issuer of v1 in common.
const HOSTS: [(&str, Option<Cloud>); 5] = [
    ("sts.windows.net", None),
    ("login.microsoftonline.com", Some(Cloud::Global)),
    ("login.microsoftonline.us", Some(Cloud::UsGov)),
    ("login.partner.microsoftonline.cn", Some(Cloud::China)),
    ("sts.chinacloudapi.cn", Some(Cloud::China)),
];

const fn name_of(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Global => "global",
        Cloud::UsGov => "us_gov",
        Cloud::China => "china",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::jwks::KeyStore;

    const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
    const OTHER: &str = "ffffbbbb-9999-cccc-1111-dddd2222eeee";

    fn rules(versions: &[Version]) -> entra::Rules {
        let keys = Arc::new(KeyStore::without_keys("entra".into()));
        entra::Rules {
            tenants: vec![entra::Tenant { id: TENANT.into(), keys }],
            cloud: Cloud::Global,
            versions: versions.into(),
            client_id: "api".into(),
            clients: vec![],
        }
    }

    #[test]
    fn a_version_that_is_left_out_is_told_from_another_tenant() {
        let v1_alone = rules(&[Version::V1]);
        let iss = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
        assert_eq!(version(0, &v1_alone, &iss).unwrap().says().name, "version_not_accepted");
        assert_eq!(version(0, &rules(&[Version::V1, Version::V2]), &iss), None);
        for (iss, expected) in [
            (format!("https://sts.windows.net/{OTHER}/"), "other_tenant"),
            (format!("https://login.microsoftonline.com/{OTHER}/v2.0"), "other_tenant"),
            (format!("https://login.microsoftonline.us/{TENANT}/v2.0"), "other_cloud"),
            (format!("https://sts.chinacloudapi.cn/{TENANT}/"), "other_cloud"),
            (format!("https://login.microsoftonline.com/{CONSUMERS}/v2.0"), "personal_account"),
            ("https://login.microsoftonline.com/common/v2.0".into(), "issuer_template"),
            (format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"), "external_id"),
        ] {
            let found = of_microsoft(0, &rules(&[Version::V1]), &iss).unwrap();
            assert_eq!(found.says().name, expected, "{iss}");
        }
        assert_eq!(of_microsoft(0, &rules(&[Version::V1]), "https://idp.example/x"), None);
    }

    #[test]
    fn tokens_of_workloads_are_known_by_their_issuers() {
        for (iss, expected) in [
            ("https://token.actions.githubusercontent.com", Some("raw_github")),
            ("https://kubernetes.default.svc.cluster.local", Some("raw_kubernetes")),
            ("https://westeurope.oic.prod-aks.azure.com/x/y/", Some("raw_kubernetes")),
            ("https://accounts.google.com", Some("raw_other")),
            ("https://idp.example", None),
        ] {
            assert_eq!(foreign(iss).map(|cause| cause.says().name), expected, "{iss}");
        }
    }
}
