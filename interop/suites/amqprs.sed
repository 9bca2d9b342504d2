# amqprs names its broker and user in the source. This puts what interop/suites/run exports in their place. Two tests
# look at nothing but the values themselves, and stay as they are.
/fn test_connection_getters/,/^    }$/b
/fn test_custom_connection_getters/,/^    }$/b
/fn test_block_unblock/,/^    }$/s/OpenConnectionArguments::default()/OpenConnectionArguments::new("localhost", 5672, "user", "bitnami")/
s/"localhost", 5672,/\&std::env::var("SUITES_HOST").unwrap(), std::env::var("SUITES_PORT").unwrap().parse().unwrap(),/
s/"localhost:5672"/\&format!("{}:{}", std::env::var("SUITES_HOST").unwrap(), std::env::var("SUITES_PORT").unwrap())/
s/"user", "bitnami"/\&std::env::var("SUITES_USER").unwrap(), \&std::env::var("SUITES_PASSWORD").unwrap()/
s/with_user_id("user")/with_user_id(\&std::env::var("SUITES_USER").unwrap())/
