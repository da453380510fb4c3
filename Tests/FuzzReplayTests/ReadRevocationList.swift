import TransportSecurity

func readRevocationList(_ bytes: [UInt8]) {
    guard let list = try? RevocationList(bytes) else { return }
    precondition(list.thisUpdate < list.nextUpdate, "a list is in force for a while")
    // Each entry takes a serial number and a date.
    precondition(list.count * 16 <= bytes.count, "no more is revoked than was read")
    precondition((try? RevocationList(bytes)) == list, "the same bytes are the same list")
}
