# Who makes, rotates and retires the key hkms-seeds. No encrypt and no decrypt: whoever administers the key opens
# nothing with it. `hkms init` needs this and gateway.hcl, once.
path "transit/keys/hkms-seeds"        { capabilities = ["create", "read", "update"] }
path "transit/keys/hkms-seeds/rotate" { capabilities = ["update"] }
path "transit/keys/hkms-seeds/config" { capabilities = ["update"] }

# These two destroy for ever. Grant them for the hour in which they are needed.
# path "transit/keys/hkms-seeds/trim" { capabilities = ["update"] }
# path "transit/keys/hkms-seeds"      { capabilities = ["create", "read", "update", "delete"] }
