# Who makes, rotates and retires the key hkms-seeds. No encrypt and no decrypt: whoever administers the key opens
# nothing with it. `hkms init` needs gateway.hcl, and this besides where it is to make the key.
path "transit/keys/hkms-seeds/rotate" { capabilities = ["update"] }

# A key that could be exported or backed up cannot be made. No required_parameters: it would forbid reading.
path "transit/keys/hkms-seeds" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "type"                   = ["aes256-gcm96"]
    "derived"                = [true, "true"]
    "exportable"             = [false, "false"]
    "allow_plaintext_backup" = [false, "false"]
  }
}

# Nor is it made so afterwards, or allowed to be deleted: these two settings and no other.
path "transit/keys/hkms-seeds/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
    "min_encryption_version" = []
  }
}

# These destroy for ever. Grant them for the hour in which they are needed: the first the versions below the minimum;
# the others, in a policy of their own, the key.
# path "transit/keys/hkms-seeds/trim"   { capabilities = ["update"] }
# path "transit/keys/hkms-seeds/config" {
#   capabilities = ["update"]
#   allowed_parameters = { "deletion_allowed" = [true, "true"] }
# }
# path "transit/keys/hkms-seeds"        { capabilities = ["delete"] }
