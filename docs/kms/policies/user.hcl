# What a caller may do with its own JWT: everything with the one key that carries the id of its entity.
path "transit/encrypt/hkms-user-{{identity.entity.id}}"           { capabilities = ["update"] }
path "transit/decrypt/hkms-user-{{identity.entity.id}}"           { capabilities = ["update"] }
path "transit/rewrap/hkms-user-{{identity.entity.id}}"            { capabilities = ["update"] }
path "transit/datakey/plaintext/hkms-user-{{identity.entity.id}}" { capabilities = ["update"] }

# Made at the first use, in this form alone: a key that could be exported or backed up cannot be made.
path "transit/keys/hkms-user-{{identity.entity.id}}" {
  capabilities = ["create", "read", "update"]
  required_parameters = ["type", "derived"]
  allowed_parameters = {
    "type"                   = ["aes256-gcm96"]
    "derived"                = [true, "true"]
    "exportable"             = [false, "false"]
    "allow_plaintext_backup" = [false, "false"]
  }
}
