"""The machinery that every level and project shares. It imports neither levels nor projects."""
