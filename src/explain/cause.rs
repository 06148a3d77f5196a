//! Why a token is refused, more closely than its reason says: each cause with what is so and what to
//! change, in the words of the place where it is changed. [`text`] is the one place for these.

mod text;

/// A cause, and what of this token shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each cause's sentences stand in `text`")]
pub enum Cause {
    // How it was sent.
    NothingSent,
    TokenEmpty,
    Placeholder { text: String },
    Broken { by: &'static str },
    Quoted,
    BearerTwice,
    SchemeMissing,
    SchemeForeign { scheme: String },
    WholeDocument { member: String },
    ForeignCharacter { place: usize, character: char },
    Trailing,
    TooLarge { bytes: usize, most: usize, groups: bool },
    // Its form.
    Opaque { looks_like: &'static str },
    PartMissing { found: usize },
    TooManyParts { found: usize },
    Encrypted,
    Rewrapped { part: &'static str, by: &'static str },
    Cut { part: &'static str },
    NotJson { part: &'static str },
    NotStrict { found: String },
    HeaderAsksForMore { found: String },
    TypForeign { typ: String },
    AssertionOfOurs,
    // Its issuer.
    AirflowNotConfigured,
    IssuerAbsent,
    VersionNotAccepted { found: &'static str, entry: String },
    OtherTenant { found: String, accepted: String, entry: String },
    OtherCloud { found: &'static str, entry: String },
    PersonalAccount,
    ExternalId { iss: String },
    IssuerSpelling { found: String, expected: String },
    IssuerTemplate { iss: String },
    RawGithub,
    RawKubernetes { iss: String },
    RawOther { issuer: &'static str },
    AirflowIssuerDiffers { found: String, expected: Option<String>, entry: String },
    IssuerForeign { iss: String },
    // Its signature.
    Graph { audience: Option<String>, proven: bool, client_id: Option<String> },
    Unsigned,
    SharedSecret { algorithm: String },
    AirflowHasKey { algorithm: String, entry: String },
    AirflowHasSecret { entry: String },
    AirflowOtherHash { algorithm: String },
    AlgorithmForeign { algorithm: String, accepted: String, entry: String },
    KeyUnfit { kid: String, algorithm: String },
    KidMissing { entry: String },
    KidOfEntry { kid: String, owner: String },
    KidOfApp { kid: String, client_id: String, entry: String },
    KidOfTenant { kid: String, tenant: String },
    KidUnknown { kid: String, asked: String, issued: Option<String> },
    KeyOfOurs,
    SignatureAbsent,
    SignatureCut { found: usize, expected: usize },
    SignatureTooLong { found: usize, expected: usize },
    SignatureInDer,
    ContentChanged { kid: String },
    HashDiffers { hash: &'static str, algorithm: String },
    SignedByOther { kid: String, other: String },
    OtherKeyOrDamaged { kid: String },
    ChangedOrOtherKey { kid: String },
    AirflowSecretDiffers { entry: String },
    AirflowSecretReading { reading: &'static str, entry: String },
    // What it is.
    IdToken { client_id: String },
    IdTokenOfOurs { client_id: String },
    TaskToken { scope: String },
    OnlyForWorkers { issuer: String },
    WorkloadOnly,
    ExchangedAlready,
    KindContradicts,
    Bound { by: &'static str },
    TenantDiffers { found: String },
    KeyOfOtherTenant { found: String },
    VersionContradicts { found: String },
    RequiredClaimDiffers { found: String, entry: String },
    // Whom it is for.
    AudienceOfMicrosoft { audience: String, service: &'static str, client_id: Option<String> },
    AudienceOfExchange { entry: String, client_id: String },
    AudienceIsClient { audience: String, client_id: String },
    AudienceSpelling { found: String, accepted: String, entry: String },
    AudienceUri { found: String, entry: String, client_id: String },
    AudienceOfAirflow { found: String, accepted: String, entry: String },
    AudienceOfTasks,
    AudienceForeign { found: String, accepted: String, entry: String, asks: String },
    ClaimAbsent { claim: String, hint: &'static str },
    ClaimOdd { found: String },
    // Its times.
    Expired { ago: u64, lifetime: Option<u64> },
    NotYetValid { ahead: u64 },
    ClockOfOursWrong { offset: i64 },
    ClockOfIssuerWrong { ahead: u64, offset: Option<i64> },
    Milliseconds { claim: &'static str },
    Revoked { found: String },
    // Whose it is.
    ClientNotListed { client: String, entry: String },
    UsernameAbsent { claim: String, entry: String },
    NameUnsafe { found: String, entry: String },
    AppWithoutRole { client: String, client_id: String },
    ManagedIdentityWithoutRole { resource: String, client_id: String },
    UserWithoutRole { client_id: String },
    GuestWithoutRole { client_id: String, home: String },
    GroupsOverage { entry: String },
    GroupsInsteadOfRoles { entry: String },
    RolesUnmapped { found: String, known: String, place: String },
    RoleSpelling { found: String, known: String, place: String },
    RolesClaimAbsent { pointer: String, entry: String },
    RolesNotText { found: String, entry: String },
    // The request.
    PathClosed { found: String },
    PathAmbiguous,
    PathOfOurs,
    MethodRefused,
    HeadTooLarge { found: String },
    TaskOfAnother { found: String },
    RequestOdd { found: String },
    // The keys.
    KeysUnreachable { entry: String, place: String, why: String },
    KeysNotFetched { entry: String },
    KeysNone { entry: String },
}

/// Something to change, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The place: a blade of Entra's, a key of airflow.cfg, a key of airside's.
    pub place: String,
    /// What to do there.
    pub what: String,
}

/// A cause in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The stable name.
    pub name: &'static str,
    /// What is so.
    pub what: String,
    /// What to change, the likeliest first.
    pub fixes: Vec<Fix>,
}

impl Cause {
    /// The cause in words.
    #[must_use]
    pub fn says(&self) -> Says {
        text::says(self)
    }
}
