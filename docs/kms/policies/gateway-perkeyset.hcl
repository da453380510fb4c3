# Besides gateway.hcl, where each key set has a key of its own (kms.keys: perKeySet): hkms-seeds-ks-..., made at
# registration and destroyed with the key set. No `create` on encrypt: a mistyped name makes no key.
path "transit/encrypt/hkms-seeds-ks-*"           { capabilities = ["update"] }
path "transit/decrypt/hkms-seeds-ks-*"           { capabilities = ["update"] }
path "transit/rewrap/hkms-seeds-ks-*"            { capabilities = ["update"] }
path "transit/datakey/plaintext/hkms-seeds-ks-*" { capabilities = ["update"] }

# The star stands for what lies below the keys, too. What these parameters leave of it: making keys that cannot be
# exported or backed up, allowing that a key is deleted, deleting it; and rotating, which takes no parameters. No
# minimum is set and no version trimmed. No required_parameters: it would forbid reading.
path "transit/keys/hkms-seeds-ks-*" {
  capabilities = ["create", "read", "update", "delete"]
  allowed_parameters = {
    "type"                   = ["aes256-gcm96"]
    "derived"                = [true, "true"]
    "exportable"             = [false, "false"]
    "allow_plaintext_backup" = [false, "false"]
    "deletion_allowed"       = [true, "true"]
  }
}
