job "obs-alertmanager" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "alertmanager" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "15s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "15s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 9093
      }
    }

    volume "data" {
      type   = "host"
      source = "obs-alertmanager"
    }

    service {
      name     = "alertmanager"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "15s"
        timeout  = "2s"
      }
    }

    task "alertmanager" {
      kill_timeout = "20s"

      template {
        destination = "local/alertmanager.yml"
        data        = "{{ key \"obsctl/obs/config/alertmanager.yml\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      # Alertmanager reads this file at every notification, so it follows alert-sink wherever that runs.
      template {
        destination = "local/alert-sink.url"
        change_mode = "noop"
        data        = <<-EOT
        {{- range service "alert-sink" }}{{ if eq (index .ServiceMeta "obsctl_stack") "obs" -}}
        http://{{ .Address }}:{{ .Port }}/webhook{{ break }}
        {{- end }}{{ end }}
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/alertmanager"
      }

      driver = "docker"

      config {
        image        = "prom/alertmanager:v0.34.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/alertmanager.yml",
          "--storage.path=/alertmanager",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--cluster.listen-address=",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
