# Besides gateway.hcl, where callers log in by themselves. The gateway moves users' key sets to new key versions, which
# shows it nothing. There is no decrypt, encrypt or datakey here: without the user's own JWT no user's seed opens.
path "transit/rewrap/hkms-user-*" { capabilities = ["update"] }
path "transit/keys/hkms-user-*"   { capabilities = ["read"] }
