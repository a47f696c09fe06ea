output "files" {
  description = "The files that were written."
  value       = sort(concat(keys(local.plain), tolist(local.secret)))
}
