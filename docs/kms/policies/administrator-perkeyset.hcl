# Besides gateway.hcl, gateway-perkeyset.hcl and administrator.hcl, for the hour of `hkms kms rotate --retire` where each
# key set has a key of its own: old versions of these are shut out and destroyed for ever.
path "transit/keys/hkms-seeds-ks-*" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
    "min_encryption_version" = []
    "min_available_version"  = []
  }
}
