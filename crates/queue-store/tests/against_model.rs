//! The queue against its naive twin: any operations in any order, everything compared after each.

use leveret_queue_store::fuzzing;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn queue_does_what_its_naive_twin_does(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        fuzzing::operations(&bytes);
    }
}
