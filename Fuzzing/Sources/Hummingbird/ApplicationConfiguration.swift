/// Stands in for Hummingbird, of which the configurations need one type: its many packages would take longer to
/// build than everything else here.
public struct ApplicationConfiguration {
    public enum Address {
        case hostname(String, port: Int)
    }

    public init(address: Address, serverName: String?) {}
}
