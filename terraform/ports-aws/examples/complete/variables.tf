variable "region" {
  description = "Region of AWS."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "cidrs" {
  description = "Networks from which people reach the programs."
  type        = list(string)
}

variable "certificate_arn" {
  description = "ARN of the load balancer's certificate."
  type        = string
}

variable "node_security_group_id" {
  description = "Security group of the nodes."
  type        = string
}

variable "nodes" {
  description = "Addresses of the nodes that may run the programs."
  type        = set(string)
}
