# For a program that signs by the port TrustedKMS; no gateway needs it. hkms-manifest is an Ed25519 key.
path "transit/sign/hkms-manifest" { capabilities = ["update"] }
path "transit/keys/hkms-manifest" { capabilities = ["read"] }
