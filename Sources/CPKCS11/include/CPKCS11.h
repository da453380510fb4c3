// The C interface of PKCS#11 modules, as far as HKMS speaks it: version 2.40 of the OASIS standard, whose structures
// and function list version 3 kept. On Unix nothing is packed.
#ifndef HKMS_PKCS11_H
#define HKMS_PKCS11_H

typedef unsigned char hkms_p11_byte;
// CK_ULONG, CK_RV, handles, flags and every kind of type code.
typedef unsigned long hkms_p11_ulong;

typedef struct {
    hkms_p11_byte major;
    hkms_p11_byte minor;
} hkms_p11_version;

// Strings are padded with blanks and not terminated.
typedef struct {
    hkms_p11_version cryptoki_version;
    hkms_p11_byte manufacturer[32];
    hkms_p11_ulong flags;
    hkms_p11_byte library_description[32];
    hkms_p11_version library_version;
} hkms_p11_info;

typedef struct {
    hkms_p11_byte description[64];
    hkms_p11_byte manufacturer[32];
    hkms_p11_ulong flags;
    hkms_p11_version hardware_version;
    hkms_p11_version firmware_version;
} hkms_p11_slot_info;

typedef struct {
    hkms_p11_byte label[32];
    hkms_p11_byte manufacturer[32];
    hkms_p11_byte model[16];
    hkms_p11_byte serial[16];
    hkms_p11_ulong flags;
    hkms_p11_ulong max_session_count;
    hkms_p11_ulong session_count;
    hkms_p11_ulong max_rw_session_count;
    hkms_p11_ulong rw_session_count;
    hkms_p11_ulong max_pin_length;
    hkms_p11_ulong min_pin_length;
    hkms_p11_ulong total_public_memory;
    hkms_p11_ulong free_public_memory;
    hkms_p11_ulong total_private_memory;
    hkms_p11_ulong free_private_memory;
    hkms_p11_version hardware_version;
    hkms_p11_version firmware_version;
    hkms_p11_byte utc_time[16];
} hkms_p11_token_info;

typedef struct {
    hkms_p11_ulong min_key_size;
    hkms_p11_ulong max_key_size;
    hkms_p11_ulong flags;
} hkms_p11_mechanism_info;

typedef struct {
    hkms_p11_ulong slot;
    hkms_p11_ulong state;
    hkms_p11_ulong flags;
    hkms_p11_ulong device_error;
} hkms_p11_session_info;

typedef struct {
    hkms_p11_ulong type;
    void *value;
    hkms_p11_ulong length;
} hkms_p11_attribute;

typedef struct {
    hkms_p11_ulong type;
    void *parameter;
    hkms_p11_ulong length;
} hkms_p11_mechanism;

typedef struct {
    // Not const: some modules choose the IV themselves and write it here.
    hkms_p11_byte *iv;
    hkms_p11_ulong iv_length;
    hkms_p11_ulong iv_bits;
    const hkms_p11_byte *aad;
    hkms_p11_ulong aad_length;
    hkms_p11_ulong tag_bits;
} hkms_p11_gcm_parameters;

// The four mutex functions are left out: modules use the operating system's locks.
typedef struct {
    void *create_mutex;
    void *destroy_mutex;
    void *lock_mutex;
    void *unlock_mutex;
    hkms_p11_ulong flags;
    void *reserved;
} hkms_p11_initialize_arguments;

// What HKMS never calls has its place and no signature.
typedef void (*hkms_p11_unused)(void);

typedef struct hkms_p11_functions {
    hkms_p11_version version;
    hkms_p11_ulong (*initialize)(const hkms_p11_initialize_arguments *arguments);
    hkms_p11_ulong (*finalize)(void *reserved);
    hkms_p11_ulong (*get_info)(hkms_p11_info *info);
    hkms_p11_ulong (*get_function_list)(struct hkms_p11_functions **list);
    hkms_p11_ulong (*get_slot_list)(hkms_p11_byte present, hkms_p11_ulong *slots, hkms_p11_ulong *count);
    hkms_p11_ulong (*get_slot_info)(hkms_p11_ulong slot, hkms_p11_slot_info *info);
    hkms_p11_ulong (*get_token_info)(hkms_p11_ulong slot, hkms_p11_token_info *info);
    hkms_p11_ulong (*get_mechanism_list)(hkms_p11_ulong slot, hkms_p11_ulong *types, hkms_p11_ulong *count);
    hkms_p11_ulong (*get_mechanism_info)(hkms_p11_ulong slot, hkms_p11_ulong type, hkms_p11_mechanism_info *info);
    hkms_p11_unused init_token;
    hkms_p11_unused init_pin;
    hkms_p11_unused set_pin;
    hkms_p11_ulong (*open_session)(
        hkms_p11_ulong slot, hkms_p11_ulong flags, void *application, void *notify, hkms_p11_ulong *session);
    hkms_p11_ulong (*close_session)(hkms_p11_ulong session);
    hkms_p11_ulong (*close_all_sessions)(hkms_p11_ulong slot);
    hkms_p11_ulong (*get_session_info)(hkms_p11_ulong session, hkms_p11_session_info *info);
    hkms_p11_unused get_operation_state;
    hkms_p11_unused set_operation_state;
    hkms_p11_ulong (*login)(
        hkms_p11_ulong session, hkms_p11_ulong user, const hkms_p11_byte *pin, hkms_p11_ulong length);
    hkms_p11_ulong (*logout)(hkms_p11_ulong session);
    hkms_p11_ulong (*create_object)(
        hkms_p11_ulong session, const hkms_p11_attribute *attributes, hkms_p11_ulong count, hkms_p11_ulong *object);
    hkms_p11_unused copy_object;
    hkms_p11_ulong (*destroy_object)(hkms_p11_ulong session, hkms_p11_ulong object);
    hkms_p11_unused get_object_size;
    hkms_p11_ulong (*get_attribute_value)(
        hkms_p11_ulong session, hkms_p11_ulong object, hkms_p11_attribute *attributes, hkms_p11_ulong count);
    hkms_p11_ulong (*set_attribute_value)(
        hkms_p11_ulong session, hkms_p11_ulong object, const hkms_p11_attribute *attributes, hkms_p11_ulong count);
    hkms_p11_ulong (*find_objects_init)(
        hkms_p11_ulong session, const hkms_p11_attribute *attributes, hkms_p11_ulong count);
    hkms_p11_ulong (*find_objects)(
        hkms_p11_ulong session, hkms_p11_ulong *objects, hkms_p11_ulong capacity, hkms_p11_ulong *count);
    hkms_p11_ulong (*find_objects_final)(hkms_p11_ulong session);
    hkms_p11_ulong (*encrypt_init)(hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, hkms_p11_ulong key);
    hkms_p11_ulong (*encrypt)(
        hkms_p11_ulong session, const hkms_p11_byte *data, hkms_p11_ulong length, hkms_p11_byte *encrypted,
        hkms_p11_ulong *encrypted_length);
    hkms_p11_unused encrypt_update;
    hkms_p11_unused encrypt_final;
    hkms_p11_ulong (*decrypt_init)(hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, hkms_p11_ulong key);
    hkms_p11_ulong (*decrypt)(
        hkms_p11_ulong session, const hkms_p11_byte *encrypted, hkms_p11_ulong length, hkms_p11_byte *data,
        hkms_p11_ulong *data_length);
    hkms_p11_unused decrypt_update;
    hkms_p11_unused decrypt_final;
    hkms_p11_unused digest_init;
    hkms_p11_unused digest;
    hkms_p11_unused digest_update;
    hkms_p11_unused digest_key;
    hkms_p11_unused digest_final;
    hkms_p11_ulong (*sign_init)(hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, hkms_p11_ulong key);
    hkms_p11_ulong (*sign)(
        hkms_p11_ulong session, const hkms_p11_byte *data, hkms_p11_ulong length, hkms_p11_byte *signature,
        hkms_p11_ulong *signature_length);
    hkms_p11_unused sign_update;
    hkms_p11_unused sign_final;
    hkms_p11_unused sign_recover_init;
    hkms_p11_unused sign_recover;
    hkms_p11_unused verify_init;
    hkms_p11_unused verify;
    hkms_p11_unused verify_update;
    hkms_p11_unused verify_final;
    hkms_p11_unused verify_recover_init;
    hkms_p11_unused verify_recover;
    hkms_p11_unused digest_encrypt_update;
    hkms_p11_unused decrypt_digest_update;
    hkms_p11_unused sign_encrypt_update;
    hkms_p11_unused decrypt_verify_update;
    hkms_p11_ulong (*generate_key)(
        hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, const hkms_p11_attribute *attributes,
        hkms_p11_ulong count, hkms_p11_ulong *key);
    hkms_p11_ulong (*generate_key_pair)(
        hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, const hkms_p11_attribute *public_attributes,
        hkms_p11_ulong public_count, const hkms_p11_attribute *private_attributes, hkms_p11_ulong private_count,
        hkms_p11_ulong *public_key, hkms_p11_ulong *private_key);
    hkms_p11_ulong (*wrap_key)(
        hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, hkms_p11_ulong wrapping_key, hkms_p11_ulong key,
        hkms_p11_byte *wrapped, hkms_p11_ulong *length);
    hkms_p11_ulong (*unwrap_key)(
        hkms_p11_ulong session, const hkms_p11_mechanism *mechanism, hkms_p11_ulong unwrapping_key,
        const hkms_p11_byte *wrapped, hkms_p11_ulong length, const hkms_p11_attribute *attributes,
        hkms_p11_ulong count, hkms_p11_ulong *key);
    hkms_p11_unused derive_key;
    hkms_p11_unused seed_random;
    hkms_p11_ulong (*generate_random)(hkms_p11_ulong session, hkms_p11_byte *random, hkms_p11_ulong length);
    hkms_p11_unused get_function_status;
    hkms_p11_unused cancel_function;
    hkms_p11_unused wait_for_slot_event;
} hkms_p11_functions;

// The one symbol that a module exports for certain.
typedef hkms_p11_ulong (*hkms_p11_get_function_list)(hkms_p11_functions **list);

#endif
