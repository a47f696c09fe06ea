output "dns_name" {
  description = "Name of the load balancer in DNS."
  value       = module.ports.dns_name
}
