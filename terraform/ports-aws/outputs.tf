output "dns_name" {
  description = "Name of the load balancer in DNS. The certificate needs a name of yours that leads there."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "Hosted zone of the load balancer, for an alias record in Route 53."
  value       = aws_lb.this.zone_id
}

output "ports" {
  description = "Program -> port on the load balancer, by HTTPS."
  value       = { for name, program in var.programs : name => program.port }
}

output "security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.load_balancer.id
}
