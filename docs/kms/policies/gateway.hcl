# What a running gateway may do with its key hkms-seeds, and nothing else. It cannot create, rotate or delete.
# `update` on encrypt without `create`: a mistyped name makes no key.
path "transit/encrypt/hkms-seeds"           { capabilities = ["update"] }
path "transit/decrypt/hkms-seeds"           { capabilities = ["update"] }
path "transit/rewrap/hkms-seeds"            { capabilities = ["update"] }
path "transit/datakey/plaintext/hkms-seeds" { capabilities = ["update"] }
path "transit/keys/hkms-seeds"              { capabilities = ["read"] }
path "transit/random/*"                     { capabilities = ["update"] }

# Its own token. With these it needs no `default` policy: token_no_default_policy=true.
path "auth/token/lookup-self"               { capabilities = ["read"] }
path "auth/token/renew-self"                { capabilities = ["update"] }
# `hkms doctor` asks what the token may do, of its own token alone.
path "sys/capabilities-self"                { capabilities = ["update"] }
