//! Who is calling: from verified claims to a [`Principal`], by the rules of the issuer's entry.

pub mod principal;
pub mod roles;

pub use principal::{
    Basis, Directory, Identified, Mapping, Origin, Principal, Rights, Sketch, Statement,
};
pub use roles::{AirflowRole, AirflowTeam, Held, RoleMap, TeamMap};
