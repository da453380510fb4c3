# Besides gateway.hcl, where the KMS signs: hkms-manifest is an Ed25519 key.
path "transit/sign/hkms-manifest" { capabilities = ["update"] }
path "transit/keys/hkms-manifest" { capabilities = ["read"] }
