//! Airflow 3 as it comes, told by airside who is calling with a token signed by its own secret.

use crate::compatibility::{self, Subject};
use crate::flight::Flight;
use crate::stock::Recipe;

#[test]
fn the_current_release_takes_what_its_own_secret_signs() {
    prove(&Recipe::usual());
}

#[cfg(feature = "airflow-releases")]
#[test]
fn every_release_takes_what_its_own_secret_signs() {
    for recipe in Recipe::earlier() {
        prove(&recipe);
    }
}

fn prove(recipe: &Recipe) {
    let flight = Flight::with(recipe, |config| config);
    let (manager, handoff) = ("SimpleAuthManager", "`airflow_token`, shared secret");
    compatibility::prove(&flight, &Subject { airflow: recipe.version(), manager, handoff });
}
