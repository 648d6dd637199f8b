//! Does one of the hot pieces of the protocol a number of times. `benches/instructions` counts what that takes: what
//! twice as many rounds take more is what the rounds cost, without the preparation.

mod cases;
mod peer;

use cases::CASES;

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(rounds)) = (arguments.next(), arguments.next()) else {
        for (name, _) in CASES {
            println!("{name}");
        }
        return Ok(());
    };
    let rounds = rounds.parse().map_err(|error| format!("{rounds:?} is no number: {error}"))?;
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).ok_or("no such case")?;
    case(rounds);
    Ok(())
}
