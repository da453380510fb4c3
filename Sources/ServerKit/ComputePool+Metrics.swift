import Observability
import ServiceKit

extension PrometheusRegistry {
    /// Reads how busy a pool is at every scrape.
    public func observe(_ pool: ComputePool) {
        onScrape { registry in
            let (running, waiting) = pool.load
            registry.set(MetricCatalog.computeThreads, to: Double(pool.numberOfThreads))
            registry.set(MetricCatalog.computeRunning, to: Double(running))
            registry.set(MetricCatalog.computeWaiting, to: Double(waiting))
            registry.set(MetricCatalog.computeQueueLimit, to: Double(pool.maximumQueued))
        }
    }
}
